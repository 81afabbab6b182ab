//! Windows that slide over spatial axes: what convolutions and poolings share.

use crate::attrs::Attrs;
use crate::dim::Dim;
use crate::error::{OpError, Problem};
use crate::eval::each;
use crate::op::{Eval, Infer};
use crate::types::{DType, Type};

/// Where a tensor keeps its batch, channel and spatial axes.
pub struct Layout {
    last: bool,
    /// The number of spatial axes.
    pub spatial: usize,
}

impl Layout {
    /// The layout that the attribute `layout` names.
    pub fn of(attrs: &Attrs, rank: usize) -> Layout {
        Layout { last: attrs.get_word("layout") == "last", spatial: rank - 2 }
    }

    /// The axis of images' channels.
    pub fn channel(&self) -> usize {
        if self.last { self.spatial + 1 } else { 1 }
    }

    /// Image axis of the spatial axis `s`.
    pub fn image(&self, s: usize) -> usize {
        if self.last { s + 1 } else { s + 2 }
    }

    /// The weights' axis of result channels.
    pub fn w_out(&self) -> usize {
        if self.last { self.spatial + 1 } else { 0 }
    }

    /// The weights' axis of operand channels (of one group).
    pub fn w_in(&self) -> usize {
        if self.last { self.spatial } else { 1 }
    }

    /// The weights' axis of the spatial axis `s`.
    pub fn w_kernel(&self, s: usize) -> usize {
        if self.last { s } else { s + 2 }
    }

    /// The type of images with these parts.
    pub fn images(&self, dtype: DType, batch: Dim, channels: Dim, spatial: Vec<Dim>) -> Type {
        self.arrange(dtype, batch, channels, spatial, false)
    }

    /// The type of weights with these parts.
    pub fn weights(&self, dtype: DType, out: Dim, inner: Dim, kernel: Vec<Dim>) -> Type {
        self.arrange(dtype, out, inner, kernel, true)
    }

    fn arrange(&self, dtype: DType, first: Dim, second: Dim, spatial: Vec<Dim>, weights: bool) -> Type {
        let shape = match (self.last, weights) {
            (false, _) => [vec![first, second], spatial].concat(),
            (true, false) => [vec![first], spatial, vec![second]].concat(),
            (true, true) => [spatial, vec![second, first]].concat(),
        };
        Type { dtype, shape }
    }

    /// The image index with these parts.
    pub fn image_index(&self, batch: usize, channel: usize, spatial: &[usize]) -> Vec<usize> {
        let mut index = vec![0; spatial.len() + 2];
        (index[0], index[self.channel()]) = (batch, channel);
        spatial.iter().enumerate().for_each(|(s, &i)| index[self.image(s)] = i);
        index
    }

    /// The weights' index with these parts.
    pub fn weight_index(&self, out: usize, inner: usize, kernel: &[usize]) -> Vec<usize> {
        let mut index = vec![0; kernel.len() + 2];
        (index[self.w_out()], index[self.w_in()]) = (out, inner);
        kernel.iter().enumerate().for_each(|(s, &i)| index[self.w_kernel(s)] = i);
        index
    }
}

/// The layout of operand `arg`, after the checks of `layout`, the rank (3 to 5) and the geometry's attributes.
pub fn checked(i: &Infer<'_>, arg: usize) -> Result<Layout, OpError> {
    if !matches!(i.attrs.get_word("layout"), "first" | "last") {
        return i.bad_attr("layout", "must be `first` or `last`");
    }
    let rank = i.args[arg].rank();
    if !(3..=5).contains(&rank) {
        let expected = "3, 4 or 5 (batch, channels, and 1 to 3 spatial)".to_string();
        return i.fail(Problem::Rank { arg, expected, found: i.args[arg].clone() });
    }
    for (name, least) in [("kernel", 1), ("stride", 1), ("lo", 0), ("hi", 0), ("dilation", 1)] {
        if i.attrs.get(name).is_none() {
            continue;
        }
        let values = i.attrs.get_ints(name);
        i.want_len(name, values.len(), rank - 2)?;
        if let Some(v) = values.iter().find(|&&v| v < least || v > i64::from(i32::MAX)) {
            return i.bad_attr(name, format!("must be between {least} and {}, but one is {v}", i32::MAX));
        }
    }
    Ok(Layout::of(i.attrs, rank))
}

/// How many places windows of `kernel` take on each spatial axis of these sizes.
pub fn windows(i: &Infer<'_>, layout: &Layout, sizes: &[Dim], kernel: &[i64]) -> Result<Vec<Dim>, OpError> {
    let get = |name, s: usize| i.attrs.get_ints(name)[s];
    let places = sizes.iter().enumerate().map(|(s, size)| {
        let reach = get("dilation", s) * (kernel[s] - 1) + 1;
        let (lo, hi, stride) = (get("lo", s), get("hi", s), get("stride", s));
        let rest = size.clone() + Dim::from(lo + hi - reach);
        let steps = rest
            .floor_div(&Dim::from(stride))
            .map_err(|e| OpError::new(i.op, Problem::Attr { name: "stride", why: e.to_string() }))?;
        let places = steps + Dim::ONE;
        if places.as_const().is_some_and(|c| c < 1) {
            let why = format!("the window reaches over {reach}, but the axis has {size} and padding {lo} and {hi}");
            return i.fail(Problem::TooSmall { axis: layout.image(s), size: places, why });
        }
        Ok(places)
    });
    places.collect()
}

/// The spatial sizes in a shape of images.
pub fn spatial_dims(layout: &Layout, shape: &[Dim]) -> Vec<Dim> {
    (0..layout.spatial).map(|s| shape[layout.image(s)].clone()).collect()
}

/// Calls `f(place of the window, place in the kernel, place in the image)` for each element of the image that each
/// window sees; what lies in the padding is left out.
pub fn each_tap(
    e: &Eval<'_>,
    places: &[usize],
    kernel: &[usize],
    image: &[usize],
    mut f: impl FnMut(&[usize], &[usize], &[usize]),
) {
    let (stride, lo, dilation) = (e.attrs.get_ints("stride"), e.attrs.get_ints("lo"), e.attrs.get_ints("dilation"));
    each(places, |place| {
        each(kernel, |tap| {
            let at = |s: usize| place[s] as i64 * stride[s] + tap[s] as i64 * dilation[s] - lo[s];
            let inside: Option<Vec<usize>> =
                (0..place.len()).map(|s| usize::try_from(at(s)).ok().filter(|&i| i < image[s])).collect();
            if let Some(inside) = inside {
                f(place, tap, &inside);
            }
        });
    });
}
