//! Training with dl: data sets, metrics, progress
