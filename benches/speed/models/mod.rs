//! The networks of the reference workloads.

mod dense;
mod lenet;
mod resnet;
mod text;

pub use dense::{Mlp, Vae};
pub use lenet::LeNet;
pub use resnet::{ResNet18Cifar, ResNet50};
pub use text::{CharLstm, Gpt};
