//! The greatest error of each single-precision function over all 2^32 numbers, on every instruction set of the CPU.
//! Run by `cargo bench -p dl-codegen --bench accuracy`, with names of functions behind `--` for some of them only.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use dl_codegen::Isa;
use dl_codegen::abi::Fault;
use dl_codegen::jit::Library;
use dl_codegen::kernel::{Access, Builder, DType, Kernel, UnOp};

/// Numbers that a kernel is given at once.
const CHUNK: u64 = 1 << 16;

/// A function: what it is in double precision, and the most that its error may be, in units in the last place.
struct Function {
    op: UnOp,
    exact: fn(f64) -> f64,
    bound: f64,
}

const FUNCTIONS: [Function; 11] = [
    Function { op: UnOp::Exp, exact: f64::exp, bound: 1.1 },
    Function { op: UnOp::Expm1, exact: f64::exp_m1, bound: 1.6 },
    Function { op: UnOp::Log, exact: f64::ln, bound: 3.4 },
    Function { op: UnOp::Log1p, exact: f64::ln_1p, bound: 4.0 },
    Function { op: UnOp::Tanh, exact: f64::tanh, bound: 2.6 },
    Function { op: UnOp::Sigmoid, exact: |x| 1.0 / (1.0 + (-x).exp()), bound: 3.5 },
    Function { op: UnOp::Erf, exact: libm::erf, bound: 5.9 },
    Function { op: UnOp::Sin, exact: f64::sin, bound: 1.0 },
    Function { op: UnOp::Cos, exact: f64::cos, bound: 1.0 },
    Function { op: UnOp::Sqrt, exact: f64::sqrt, bound: 0.5 },
    Function { op: UnOp::Rsqrt, exact: |x| 1.0 / x.sqrt(), bound: 1.0 },
];

/// The greatest error so far, and where it is.
#[derive(Clone, Copy, Default)]
struct Worst {
    ulps: f64,
    x: f32,
    y: f32,
}

fn main() -> ExitCode {
    // Cargo passes `--bench`.
    let names: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let chosen = |f: &&Function| names.is_empty() || names.iter().any(|name| name == f.op.name());
    let isas = Isa::all().expect("the CPU is known");
    println!("function  level       ulp  bound  input          result");
    let mut good = true;
    for function in FUNCTIONS.iter().filter(chosen) {
        let begin = Instant::now();
        for (isa, worst) in isas.iter().zip(measure(function, &isas)) {
            // Without fused multiply-add there is one more rounding here and there.
            let bound = function.bound * if isa.has_fma() { 1.0 } else { 1.5 };
            let (name, level, Worst { ulps, x, y }) = (function.op.name(), isa.level().name(), worst);
            let verdict = if ulps <= bound { "" } else { "  beyond the bound" };
            good &= ulps <= bound;
            println!("{name:8}  {level:8} {ulps:6.3} {bound:6.2}  {x:<13e}  {y:e}{verdict}");
        }
        eprintln!("{} took {:.0} s", function.op.name(), begin.elapsed().as_secs_f64());
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The greatest error of a function on each instruction set; all cores take chunks of the numbers in turn.
fn measure(function: &Function, isas: &[Isa]) -> Vec<Worst> {
    let compile = |isa| Library::compile(&[&kernel(function.op)], isa, 1).expect("the kernel compiles");
    let libraries: Vec<Library> = isas.iter().map(compile).collect();
    let (next, all) = (AtomicU64::new(0), Mutex::new(vec![Worst::default(); isas.len()]));
    let work = || {
        let mut own = vec![Worst::default(); isas.len()];
        loop {
            let first = next.fetch_add(CHUNK, Ordering::Relaxed);
            if first >> 32 != 0 {
                break;
            }
            let xs: Vec<f32> = (first..first + CHUNK).map(|bits| f32::from_bits(bits as u32)).collect();
            let exact: Vec<f64> = xs.iter().map(|x| (function.exact)(f64::from(*x))).collect();
            for (library, worst) in libraries.iter().zip(&mut own) {
                for ((&x, y), &exact) in xs.iter().zip(run(library, &xs)).zip(&exact) {
                    if y != exact as f32 {
                        let ulps = ulps(y, exact);
                        if ulps > worst.ulps {
                            *worst = Worst { ulps, x, y };
                        }
                    }
                }
            }
        }
        let mut all = all.lock().expect("no thread panics");
        all.iter_mut().zip(own).filter(|(all, own)| own.ulps > all.ulps).for_each(|(all, own)| *all = own);
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    all.into_inner().expect("no thread panics")
}

fn kernel(op: UnOp) -> Kernel {
    let mut k = Builder::new(op.name(), 1);
    let (x, y) = (k.buf(DType::F32, CHUNK, Access::Read), k.buf(DType::F32, CHUNK, Access::Write));
    k.vec(CHUNK, |k, j| {
        let v = k.load(x, j);
        let v = k.un(op, v);
        k.store(y, j, v);
    });
    k.finish()
}

fn run(library: &Library, xs: &[f32]) -> Vec<f32> {
    let (mut ys, mut fault) = (vec![0f32; xs.len()], Fault::default());
    let table = [xs.as_ptr().cast_mut().cast(), ys.as_mut_ptr().cast(), (&raw mut fault).cast()];
    // SAFETY: the table has two buffers of a chunk each, of which the first is only read, and a fault cell.
    unsafe { library.kernels()[0](table.as_ptr(), 0, 1) };
    ys
}

/// The distance in units in the last place of the exact result. Tiny results count in subnormal units, an infinite
/// result as the power of two behind the greatest number.
fn ulps(actual: f32, exact: f64) -> f64 {
    if actual.is_nan() || exact.is_nan() {
        return if actual.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if exact.is_infinite() {
        return if f64::from(actual) == exact { 0.0 } else { f64::INFINITY };
    }
    let below = (exact.abs() as f32).min(f32::MAX);
    let unit = if below == f32::MAX { below - below.next_down() } else { below.next_up() - below };
    let value = if actual.is_infinite() { 2f64.powi(128).copysign(f64::from(actual)) } else { f64::from(actual) };
    (value - exact).abs() / f64::from(unit)
}
