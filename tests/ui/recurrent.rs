//! Recurrent layers: their sizes, states and lengths.
dl::model! {
    pub model Net {
        let lstm = Lstm(4 => 8, num_layers = 2);
        let gru = Gru(4 => 8);
        let deep = Rnn(4 => 8, layers = 0);
        let wide = Lstm(4 => 8, hidden_size = 8);
        let cell = LstmCell(4 => 8);
        let head = [Lstm(4 => 8), Linear(8 => 2)];

        pub fn features(x: f32[N, T, 5]) -> f32[N, T, 8] {
            let (y, _h, _c) = lstm(x);
            y
        }

        pub fn rank(x: f32[T, 4]) -> f32[T, 8] {
            let (y, _h) = gru(x);
            y
        }

        pub fn one_result(x: f32[N, T, 4]) -> f32[N, T, 8] {
            gru(x)
        }

        pub fn states(x: f32[N, T, 4], h: f32[2, N, 8]) -> f32[N, T, 8] {
            let (y, _h, _c) = lstm(x, h);
            let (z, _h, _c) = lstm(x, (h, h, h));
            let (v, _h) = gru(x, h);
            y + z + v
        }

        pub fn lengths(x: f32[N, T, 4], n: f32[N]) -> f32[N, T, 8] {
            let (y, _h) = gru(x, lengths = n);
            y
        }

        pub fn cells(x: f32[N, 4], h: f32[N, 7]) -> f32[N, 8] {
            let (h, _c) = cell(x, (h, h));
            h
        }

        pub fn in_order(x: f32[N, T, 4]) -> f32[N, T, 2] {
            head(x)
        }
    }
}

fn main() {}
