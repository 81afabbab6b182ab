//! [reference]: crate::guide
//! [scan]: crate::guide#scan
//! [layers]: crate::guide::layers
//! [pooling]: crate::guide::layers#pooling
//! [tensors]: crate::guide::tensors
//! [attention]: crate::guide::tensors#attention
//! [losses]: crate::guide::losses
//! [training]: crate::guide::training
//! [from-pytorch]: crate::guide::from_pytorch
//!
#![doc = include_str!("../docs/reference.md")]

/// A page of `docs` as a module. Of links with one name the first counts: here those within this documentation, in place of
/// those between files.
macro_rules! pages {
    ($($name:ident $file:literal;)*) => {$(
        /// [reference]: crate::guide
        /// [scan]: crate::guide#scan
        /// [layers]: crate::guide::layers
        /// [pooling]: crate::guide::layers#pooling
        /// [tensors]: crate::guide::tensors
        /// [attention]: crate::guide::tensors#attention
        /// [losses]: crate::guide::losses
        /// [training]: crate::guide::training
        /// [from-pytorch]: crate::guide::from_pytorch
        ///
        #[doc = include_str!($file)]
        pub mod $name {}
    )*};
}

pages! {
    layers "../docs/layers.md";
    tensors "../docs/tensors.md";
    losses "../docs/losses.md";
    training "../docs/training.md";
    from_pytorch "../docs/from-pytorch.md";
}
