//! What PyTorch calls the layers and methods.

/// The entries by the module in which PyTorch has them, those that it does not have at the end; `ours=theirs` where the
/// names differ.
const NAMES: &[(&str, &str)] = &[
    (
        "torch.nn",
        "Linear Embedding Bilinear EmbeddingBag PRelu=PReLU Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d \
         ConvTranspose3d ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d \
         ReplicationPad3d CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d \
         ZeroPad1d ZeroPad2d ZeroPad3d Upsample PixelShuffle PixelUnshuffle BatchNorm1d BatchNorm2d BatchNorm3d \
         LayerNorm RmsNorm=RMSNorm GroupNorm MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d \
         LpPool1d=LPPool1d LpPool2d=LPPool2d LpPool3d=LPPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d \
         AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d InstanceNorm1d InstanceNorm2d \
         InstanceNorm3d LocalResponseNorm CosineSimilarity PairwiseDistance Relu=ReLU Relu6=ReLU6 \
         LeakyRelu=LeakyReLU Elu=ELU Celu=CELU Selu=SELU Gelu=GELU Silu=SiLU Mish Softplus Softsign Sigmoid \
         LogSigmoid Tanh HardTanh=Hardtanh HardSigmoid=Hardsigmoid HardSwish=Hardswish Softmax LogSoftmax Softmin \
         Softmax2d Threshold Softshrink Hardshrink Tanhshrink Glu=GLU Flatten Unflatten Identity Dropout Dropout1d \
         Dropout2d Dropout3d AlphaDropout MultiheadAttention TransformerEncoderLayer TransformerDecoderLayer \
         TransformerEncoder TransformerDecoder Parameter Rnn=RNN Lstm=LSTM Gru=GRU RnnCell=RNNCell LstmCell=LSTMCell \
         GruCell=GRUCell softmax2d=Softmax2d identity=Identity reflection_pad1d=ReflectionPad1d \
         reflection_pad2d=ReflectionPad2d reflection_pad3d=ReflectionPad3d replication_pad1d=ReplicationPad1d \
         replication_pad2d=ReplicationPad2d replication_pad3d=ReplicationPad3d circular_pad1d=CircularPad1d \
         circular_pad2d=CircularPad2d circular_pad3d=CircularPad3d constant_pad1d=ConstantPad1d \
         constant_pad2d=ConstantPad2d constant_pad3d=ConstantPad3d zero_pad1d=ZeroPad1d zero_pad2d=ZeroPad2d \
         zero_pad3d=ZeroPad3d",
    ),
    (
        "torch.nn.functional",
        "linear conv1d conv2d conv3d relu relu6 leaky_relu elu celu selu gelu silu mish softplus softsign log_sigmoid=logsigmoid \
         hard_tanh=hardtanh hard_sigmoid=hardsigmoid hard_swish=hardswish softmax log_softmax softmin \
         gumbel_softmax threshold soft_shrink=softshrink hard_shrink=hardshrink tanh_shrink=tanhshrink glu \
         normalize pad one_hot max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d \
         lp_pool2d lp_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d \
         adaptive_max_pool2d adaptive_max_pool3d local_response_norm cosine_similarity pairwise_distance \
         interpolate pixel_shuffle pixel_unshuffle dropout dropout1d dropout2d dropout3d alpha_dropout \
         scaled_dot_product_attention mse=mse_loss l1=l1_loss smooth_l1=smooth_l1_loss huber=huber_loss \
         bce=binary_cross_entropy bce_with_logits=binary_cross_entropy_with_logits \
         multilabel_soft_margin=multilabel_soft_margin_loss kl_div poisson_nll=poisson_nll_loss \
         gaussian_nll=gaussian_nll_loss cross_entropy nll=nll_loss multi_margin=multi_margin_loss \
         soft_margin=soft_margin_loss hinge_embedding=hinge_embedding_loss margin_ranking=margin_ranking_loss \
         cosine_embedding=cosine_embedding_loss triplet_margin=triplet_margin_loss ctc=ctc_loss",
    ),
    (
        "torch",
        "neg abs sign floor ceil round sqrt rsqrt exp expm1 log log1p sin cos tan atan erf square reciprocal \
         not=logical_not isnan add sub mul div rem=remainder maximum minimum atan2 lt le eq ne and=logical_and \
         or=logical_or gt ge pow clamp where_=where trunc frac exp2 log2 log10 sinh cosh asin acos asinh acosh \
         atanh isinf isfinite nan_to_num logit fmod floor_divide hypot logaddexp xlogy xor=logical_xor lerp addcmul \
         addcdiv sigmoid tanh sum prod max=amax min=amin mean var std logsumexp argmax argmin count_nonzero \
         var_mean std_mean all any cumsum cumprod logcumsumexp cummax cummin sort argsort topk kthvalue median \
         quantile flatten unflatten reshape transpose permute squeeze unsqueeze broadcast_to concat=cat stack chunk \
         flip roll tril triu split unbind narrow tile repeat_interleave movedim take_along=take_along_dim index_add \
         scatter scatter_add meshgrid index=select gather index_select matmul diag diagonal diag_embed trace outer \
         dot addmm baddbmm cdist einsum zeros ones full zeros_like ones_like full_like arange linspace eye randn \
         rand randint bernoulli randperm bucketize",
    ),
    ("torch.linalg", "norm=vector_norm cross"),
    ("torch.Tensor", "detach masked_fill to unfold slice=__getitem__ size rank=dim numel"),
    ("torchvision.ops", "DropPath=StochasticDepth drop_path=stochastic_depth focal=sigmoid_focal_loss"),
    ("einops", "rearrange reduce repeat"),
    (
        NOWHERE,
        "BatchNorm GlobalAvgPool GlobalMaxPool GumbelSoftmax PositionalEncoding LearnedPositionalEncoding \
         global_avg_pool global_max_pool positional_encoding sinusoids rope dice hinge l1_penalty l2_penalty",
    ),
];

/// The module of what PyTorch does not have.
const NOWHERE: &str = "-";

/// PyTorch's name of a layer or method, or `-` if it has none; `None` if this is no layer or method.
///
/// ```
/// use dl_ir::nn::torch_name;
/// assert_eq!(torch_name("huber").as_deref(), Some("torch.nn.functional.huber_loss"));
/// assert_eq!(torch_name("rope").as_deref(), Some("-"));
/// assert_eq!(dl_ir::nn::of_torch("GRU"), Some("Gru"));
/// ```
pub fn torch_name(entry: &str) -> Option<String> {
    entries().find(|(_, ours, _)| *ours == entry).map(|(module, _, theirs)| match module {
        NOWHERE => NOWHERE.to_string(),
        _ => format!("{module}.{theirs}"),
    })
}

/// The name here of what PyTorch's `torch.nn` calls `theirs`.
pub fn of_torch(theirs: &str) -> Option<&'static str> {
    entries().find(|(module, _, name)| *module == "torch.nn" && *name == theirs).map(|(_, ours, _)| ours)
}

/// The module, the name here, and PyTorch's.
fn entries() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    NAMES.iter().flat_map(|(module, names)| {
        names.split_whitespace().map(move |name| {
            let (ours, theirs) = name.split_once('=').unwrap_or((name, name));
            (*module, ours, theirs)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{layers, methods};
    use super::entries;

    /// A new entry is added above, among those of its module or among those that PyTorch does not have.
    #[test]
    fn every_entry_has_one_name_in_pytorch() {
        let all: BTreeSet<&str> = layers().map(|l| l.name).chain(methods().map(|m| m.name)).collect();
        let mut named = BTreeSet::new();
        for (_, ours, _) in entries() {
            assert!(named.insert(ours), "`{ours}` is named twice");
        }
        let missing: Vec<_> = all.difference(&named).collect();
        assert!(missing.is_empty(), "no name of PyTorch's, and no `-`, for {missing:?}");
        let unknown: Vec<_> = named.difference(&all).collect();
        assert!(unknown.is_empty(), "no layer or method is called {unknown:?}");
    }
}
