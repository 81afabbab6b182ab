//! Residual networks, with the parameter names of torchvision.

dl::model! {
    /// ResNet-18 with the 3x3 stem used for 32x32 images.
    pub model ResNet18Cifar {
        /// Two convolutions and a sum.
        block Basic(WIDTH) {
            let conv1 = Conv2d(WIDTH => WIDTH, kernel = 3, padding = 1, bias = false);
            let bn1 = BatchNorm2d(WIDTH);
            let conv2 = Conv2d(WIDTH => WIDTH, kernel = 3, padding = 1, bias = false);
            let bn2 = BatchNorm2d(WIDTH);

            fn forward(x: f32[N, WIDTH, H, W]) -> f32[N, WIDTH, H, W] {
                let y = bn2(conv2(bn1(conv1(x)).relu()));
                (y + x).relu()
            }
        }

        /// The same with half the image, where the sum needs a projection.
        block Half(FROM, TO) {
            let conv1 = Conv2d(FROM => TO, kernel = 3, stride = 2, padding = 1, bias = false);
            let bn1 = BatchNorm2d(TO);
            let conv2 = Conv2d(TO => TO, kernel = 3, padding = 1, bias = false);
            let bn2 = BatchNorm2d(TO);
            let downsample = [Conv2d(FROM => TO, kernel = 1, stride = 2, bias = false), BatchNorm2d(TO)];

            fn forward(x: f32[N, FROM, H, W]) -> f32[N, TO, (H - 1) / 2 + 1, (W - 1) / 2 + 1] {
                let y = bn2(conv2(bn1(conv1(x)).relu()));
                (y + downsample(x)).relu()
            }
        }

        let conv1 = Conv2d(3 => 64, kernel = 3, padding = 1, bias = false);
        let bn1 = BatchNorm2d(64);
        let layer1 = [Basic(64); 2];
        let layer2 = [Half(64, 128), Basic(128)];
        let layer3 = [Half(128, 256), Basic(256)];
        let layer4 = [Half(256, 512), Basic(512)];
        let fc = Linear(512 => 10);

        pub fn forward(x: f32[N, 3, 32, 32]) -> f32[N, 10] {
            let h = bn1(conv1(x)).relu();
            let h = layer4(layer3(layer2(layer1(h))));
            fc(h.mean(axis = [2, 3]))
        }

        #[train]
        pub fn loss(x: f32[N, 3, 32, 32], label: i64[N]) -> f32 {
            forward(x).cross_entropy(label)
        }
    }
}

dl::model! {
    /// ResNet-50 v1.5: the stride is that of the 3x3 convolutions.
    pub model ResNet50 {
        /// 1x1 to a quarter of the channels, 3x3, 1x1 back, and a sum.
        block Bottleneck(CHANNELS, WIDTH) {
            let conv1 = Conv2d(CHANNELS => WIDTH, kernel = 1, bias = false);
            let bn1 = BatchNorm2d(WIDTH);
            let conv2 = Conv2d(WIDTH => WIDTH, kernel = 3, padding = 1, bias = false);
            let bn2 = BatchNorm2d(WIDTH);
            let conv3 = Conv2d(WIDTH => CHANNELS, kernel = 1, bias = false);
            let bn3 = BatchNorm2d(CHANNELS);

            fn forward(x: f32[N, CHANNELS, H, W]) -> f32[N, CHANNELS, H, W] {
                let h = bn1(conv1(x)).relu();
                let h = bn2(conv2(h)).relu();
                (bn3(conv3(h)) + x).relu()
            }
        }

        /// The first of a stage, where the sum needs a projection.
        block First(FROM, WIDTH, STRIDE = 2) {
            let conv1 = Conv2d(FROM => WIDTH, kernel = 1, bias = false);
            let bn1 = BatchNorm2d(WIDTH);
            let conv2 = Conv2d(WIDTH => WIDTH, kernel = 3, stride = STRIDE, padding = 1, bias = false);
            let bn2 = BatchNorm2d(WIDTH);
            let conv3 = Conv2d(WIDTH => 4 * WIDTH, kernel = 1, bias = false);
            let bn3 = BatchNorm2d(4 * WIDTH);
            let downsample = [Conv2d(FROM => 4 * WIDTH, kernel = 1, stride = STRIDE, bias = false), BatchNorm2d(4 * WIDTH)];

            fn forward(x: f32[N, FROM, H, W]) -> f32[N, 4 * WIDTH, (H - 1) / STRIDE + 1, (W - 1) / STRIDE + 1] {
                let h = bn1(conv1(x)).relu();
                let h = bn2(conv2(h)).relu();
                (bn3(conv3(h)) + downsample(x)).relu()
            }
        }

        let conv1 = Conv2d(3 => 64, kernel = 7, stride = 2, padding = 3, bias = false);
        let bn1 = BatchNorm2d(64);
        let layer1 = [First(64, 64, STRIDE = 1), Bottleneck(256, 64), Bottleneck(256, 64)];
        let layer2 = [First(256, 128), Bottleneck(512, 128), Bottleneck(512, 128), Bottleneck(512, 128)];
        let layer3 = [
            First(512, 256),
            Bottleneck(1024, 256), Bottleneck(1024, 256), Bottleneck(1024, 256), Bottleneck(1024, 256), Bottleneck(1024, 256)
        ];
        let layer4 = [First(1024, 512), Bottleneck(2048, 512), Bottleneck(2048, 512)];
        let fc = Linear(2048 => 1000);

        pub fn forward(x: f32[N, 3, 224, 224]) -> f32[N, 1000] {
            let h = bn1(conv1(x)).relu().max_pool2d(3, stride = 2, padding = 1);
            let h = layer4(layer3(layer2(layer1(h))));
            fc(h.mean(axis = [2, 3]))
        }
    }
}
