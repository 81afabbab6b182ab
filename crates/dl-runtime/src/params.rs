//! The parameters and buffers of a model: named tensors and how they start.

use std::collections::HashMap;

use dl_ir::suggest::distance;
use dl_ir::{Bindings, DType, Dim, DimError, Init, ParamDecl, Storage};

use crate::error::{Error, Result};
use crate::memory::Tensor;

/// Where the random numbers of a model come from: equal seeds give equal models and equal training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// One parameter or buffer.
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) trainable: bool,
    pub(crate) tensor: Tensor,
}

/// All parameters and buffers, in the order of declaration.
pub(crate) struct Params {
    list: Vec<Param>,
    index: HashMap<String, usize>,
    /// Grows whenever a value may have changed.
    version: u64,
}

impl Params {
    /// Makes and initialises the declared tensors. Each draws from a stream of its own, made from the seed and its name,
    /// so adding a layer does not change how the others start; nor does the order in which its axes lie.
    pub(crate) fn new(
        model: &str,
        decls: &[ParamDecl],
        dims: &Bindings,
        storage: &Storage,
        seed: Seed,
    ) -> Result<Params> {
        let mut params = Params { list: Vec::with_capacity(decls.len()), index: HashMap::new(), version: 0 };
        for decl in decls {
            let size = |dim: &Dim| {
                let wrong =
                    |problem: String| Error::ModelDim { model: model.to_string(), dim: dim.to_string(), problem };
                let size = dim.eval(dims).map_err(|error| match error {
                    DimError::Overflow => {
                        wrong(format!("is too large in the shape of `{}`; use smaller sizes", decl.name))
                    }
                    other => Error::internal(format!("making `{}` of `{model}`", decl.name), other),
                })?;
                usize::try_from(size).ok().filter(|&size| size > 0).ok_or_else(|| {
                    wrong(format!("comes out as {size} in the shape of `{}`, but must be at least 1", decl.name))
                })
            };
            let shape = decl.ty.shape.iter().map(size).collect::<Result<Vec<usize>>>()?;
            let mut tensor = Tensor::zeros(decl.ty.dtype, &shape, &decl.name)?;
            let fans = match &decl.init {
                Init::FanIn(dim) | Init::Xavier(dim) => size(dim)?,
                _ => 1,
            };
            fill(&mut tensor, &decl.init, fans, stream(seed, &decl.name));
            if let Some(order) = storage.order(&decl.name) {
                tensor = tensor.reordered(order, &decl.name)?;
            }
            params.index.insert(decl.name.clone(), params.list.len());
            params.list.push(Param { name: decl.name.clone(), trainable: decl.trainable, tensor });
        }
        Ok(params)
    }

    /// Equal versions have equal values.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// To be called before values are changed in another way than through this.
    pub(crate) fn change(&mut self) {
        self.version += 1;
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Param> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Param> {
        self.change();
        self.list.iter_mut()
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Param> {
        self.list.get(index)
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Param> {
        self.index.get(name).map(|&i| &self.list[i]).ok_or_else(|| self.unknown(name))
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Result<&mut Param> {
        self.change();
        match self.index.get(name) {
            Some(&i) => Ok(&mut self.list[i]),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        // A path may lack or repeat a part of another, so more edits are allowed than in a word.
        let nearest = self.list.iter().map(|p| (distance(name, &p.name), &p.name)).min();
        let suggestion = nearest.filter(|(d, _)| *d <= 2 + name.len() / 4).map(|(_, near)| near.clone());
        Error::UnknownParameter { name: name.to_string(), suggestion }
    }
}

/// Fills a tensor of zeros; `fans` is the size that the initialisation names, if it names one.
fn fill(tensor: &mut Tensor, init: &Init, fans: usize, stream: u64) {
    let uniform = |i: u64, lo: f64, hi: f64| lo + (hi - lo) * unit(stream, i);
    match *init {
        Init::Zeros => {}
        Init::Ones => set(tensor, |_| 1.0),
        Init::Full(value) => set(tensor, |_| value),
        Init::FanIn(_) => {
            let bound = 1.0 / (fans as f64).sqrt();
            set(tensor, |i| uniform(i, -bound, bound));
        }
        Init::Xavier(_) => {
            let bound = (6.0 / fans as f64).sqrt();
            set(tensor, |i| uniform(i, -bound, bound));
        }
        Init::Uniform(lo, hi) => set(tensor, |i| uniform(i, lo, hi)),
        Init::Normal(mean, deviation) => set(tensor, |i| {
            // Box and Muller's pair: even elements take the cosine, odd ones the sine.
            let (pair, odd) = (i & !1, i & 1 == 1);
            let radius = (-2.0 * (1.0 - unit(stream, pair)).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * unit(stream, pair + 1)).sin_cos();
            mean + deviation * radius * if odd { sin } else { cos }
        }),
    }
}

/// Sets element `i` to `value(i)`.
fn set(tensor: &mut Tensor, value: impl Fn(u64) -> f64) {
    macro_rules! each {
        ($ty:ty, $convert:expr) => {
            for (i, to) in tensor.as_slice_mut::<$ty>().unwrap_or_default().iter_mut().enumerate() {
                *to = $convert(value(i as u64));
            }
        };
    }
    match tensor.dtype {
        DType::F32 => each!(f32, |v| v as f32),
        DType::F64 => each!(f64, |v| v),
        DType::I64 => each!(i64, |v| v as i64),
        DType::I32 => each!(i32, |v| v as i32),
        DType::U8 => each!(u8, |v| v as u8),
        DType::Bool => each!(bool, |v| v != 0.0),
    }
}

/// The random stream of a name: FNV-1a over its bytes, mixed with the seed.
fn stream(seed: Seed, name: &str) -> u64 {
    let hash =
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    mix(hash ^ mix(seed.0))
}

/// Number `i` of a stream, uniform in [0, 1).
fn unit(stream: u64, i: u64) -> f64 {
    let bits = mix(stream.wrapping_add(i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// The output function of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dl_ir::{Order, Type};

    fn decl(name: &str, shape: &[i64], init: Init) -> ParamDecl {
        ParamDecl { name: name.into(), ty: Type::new(DType::F32, shape.iter().copied()), init, trainable: true }
    }

    fn values(init: Init, seed: u64) -> Vec<f32> {
        let params =
            Params::new("M", &[decl("w", &[100, 200], init)], &Bindings::new(), &Storage::default(), Seed(seed))
                .unwrap();
        params.get("w").unwrap().tensor.as_slice::<f32>().unwrap().to_vec()
    }

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        (mean, (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn distributions_have_their_moments() {
        let fan_in = values(Init::FanIn(Dim::from(25i64)), 1);
        assert!(fan_in.iter().all(|v| v.abs() <= 0.2) && fan_in.iter().any(|v| v.abs() > 0.199));
        let (mean, deviation) = moments(&fan_in);
        assert!(mean.abs() < 0.003 && (deviation - 0.2 / 3f64.sqrt()).abs() < 0.002, "{mean} {deviation}");
        let (mean, deviation) = moments(&values(Init::Normal(1.0, 2.0), 1));
        assert!((mean - 1.0).abs() < 0.05 && (deviation - 2.0).abs() < 0.04, "{mean} {deviation}");
        let uniform = values(Init::Uniform(2.0, 3.0), 1);
        assert!(uniform.iter().all(|v| (2.0..=3.0).contains(v)));
        assert_eq!(values(Init::Zeros, 1)[7], 0.0);
        assert_eq!(values(Init::Ones, 1)[7], 1.0);
        assert_eq!(values(Init::Full(-3.0), 1)[7], -3.0);
    }

    #[test]
    fn starting_values_follow_from_seed_and_name_alone() {
        let init = || Init::Normal(0.0, 1.0);
        assert_eq!(values(init(), 3), values(init(), 3));
        assert_ne!(values(init(), 3), values(init(), 4));
        let decls = [decl("v", &[8], init()), decl("w", &[100, 200], init())];
        let params = Params::new("M", &decls, &Bindings::new(), &Storage::default(), Seed(3)).unwrap();
        assert_eq!(
            params.get("w").unwrap().tensor.as_slice::<f32>().unwrap(),
            values(init(), 3),
            "another parameter changed it"
        );
        let v = params.get("v").unwrap().tensor.as_slice::<f32>().unwrap();
        assert_ne!(v, &values(init(), 3)[..8], "two names share a stream");
    }

    #[test]
    fn the_order_in_memory_changes_no_starting_value() {
        let decls = [decl("w", &[4, 3, 2, 5], Init::Normal(0.0, 1.0))];
        let make = |storage: Storage| Params::new("M", &decls, &Bindings::new(), &storage, Seed(1)).unwrap();
        let filters: Storage = [("w".to_string(), Order::of_filters(4))].into_iter().collect();
        let (declared, stored) = (make(Storage::default()), make(filters));
        let tensor = |params: &Params| params.get("w").unwrap().tensor.stored_shape();
        assert_eq!((tensor(&declared), tensor(&stored)), (vec![4, 3, 2, 5], vec![2, 5, 3, 4]));
        let view = |params: &Params| params.get("w").unwrap().tensor.view::<f32>().unwrap().to_owned();
        assert_eq!(view(&declared), view(&stored));
    }

    #[test]
    fn model_dimensions_give_shapes_or_errors() {
        let decls = [ParamDecl {
            name: "w".into(),
            ty: Type::new(DType::F32, [Dim::sym("H")]),
            init: Init::Zeros,
            trainable: true,
        }];
        let make = |h: i64| Params::new("M", &decls, &Bindings::from([("H".into(), h)]), &Storage::default(), Seed(0));
        assert_eq!(make(5).unwrap().get("w").unwrap().tensor.shape, [5]);
        let error = make(-1).err().unwrap().to_string();
        assert_eq!(error, "`M::new`: dimension `H` comes out as -1 in the shape of `w`, but must be at least 1");
        let error = make(i64::MAX / 2).err().unwrap().to_string();
        assert_eq!(error, "`w` needs more bytes than there are addresses; use smaller sizes, such as a smaller batch");
        let square = [ParamDecl { ty: Type::new(DType::F32, [Dim::sym("H") * Dim::sym("H")]), ..decls[0].clone() }];
        let error = Params::new("M", &square, &Bindings::from([("H".into(), 1 << 40)]), &Storage::default(), Seed(0))
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "`M::new`: dimension `H*H` is too large in the shape of `w`; use smaller sizes");
    }

    #[test]
    fn a_misspelt_name_gets_a_suggestion() {
        let params = Params::new(
            "M",
            &[decl("conv1.weight", &[1], Init::Zeros)],
            &Bindings::new(),
            &Storage::default(),
            Seed(0),
        )
        .unwrap();
        let message = |name| params.get(name).err().unwrap().to_string();
        assert_eq!(message("conv1.wieght"), "the model has no parameter `conv1.wieght`; did you mean `conv1.weight`?");
        assert_eq!(message("zzz"), "the model has no parameter `zzz`; `parameters()` lists them");
    }
}
