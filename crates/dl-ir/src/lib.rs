//! The graph of dl: types, symbolic dimensions, the op table, autodiff, passes and layers
