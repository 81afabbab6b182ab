//! Runs kernels through the JIT and the interpreter and compares the results.
#![allow(dead_code)]

mod pages;

use dl_codegen::abi::Fault;
use dl_codegen::jit::Library;
use dl_codegen::kernel::{Access, Buf, DType, Kernel, interp, parse};
use dl_codegen::{Isa, Level, jit};
use pages::{Edge, Pages};
use std::sync::OnceLock;

/// Bytes at a 64-byte boundary, with a margin on both sides that must stay as it is.
struct Memory {
    words: Vec<u64>,
    start: usize,
    len: usize,
}

const MARGIN: usize = 64;
const UNTOUCHED: u8 = 0xA5;

impl Memory {
    fn new(bytes: &[u8]) -> Memory {
        let mut words = vec![u64::from_ne_bytes([UNTOUCHED; 8]); (bytes.len() + 4 * MARGIN) / 8];
        let address = words.as_ptr() as usize;
        let start = (address + MARGIN).next_multiple_of(64) - address;
        let memory = Memory { words: std::mem::take(&mut words), start, len: bytes.len() };
        let mut memory = memory;
        memory.all()[start..start + bytes.len()].copy_from_slice(bytes);
        memory
    }

    fn all(&mut self) -> &mut [u8] {
        let len = self.words.len() * 8;
        // SAFETY: any bytes are valid words and words are at least as aligned as bytes.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), len) }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let (start, len) = (self.start, self.len);
        let all = self.all();
        assert!(all[..start].iter().chain(&all[start + len..]).all(|b| *b == UNTOUCHED), "wrote outside of a buffer");
        all[start..start + len].to_vec()
    }
}

/// Runs a compiled kernel, the parts in two calls with tables of their own as two threads would.
pub fn run(kernel: &Kernel, isa: &Isa, bufs: &mut [Vec<u8>]) -> Fault {
    if isa.level() == Level::Baseline {
        // Once for each kernel that any test runs.
        compiles_elsewhere(kernel);
    }
    let library = Library::compile(&[kernel], isa, 1)
        .unwrap_or_else(|e| panic!("{e}\n{}", jit::clif(kernel, isa).unwrap_or_default()));
    let mut memory: Vec<Memory> = bufs.iter().map(|b| Memory::new(b)).collect();
    let mut scratch: Vec<Memory> = bufs.iter().map(|b| Memory::new(b)).collect();
    let mut faults = [Fault::default(); 2];
    let middle = kernel.parts / 2;
    for (call, range) in [0..middle, middle..kernel.parts].into_iter().enumerate() {
        let mut table: Vec<*mut u8> = (0..bufs.len())
            .map(|i| {
                let other = call == 1 && kernel.bufs[i].access == Access::Scratch;
                let from = if other { &mut scratch[i] } else { &mut memory[i] };
                let start = from.start;
                from.all()[start..].as_mut_ptr()
            })
            .collect();
        table.push((&raw mut faults[call]).cast());
        // SAFETY: the table has the buffers at their declared lengths, 64-byte aligned, and a fault cell.
        unsafe { library.kernels()[0](table.as_ptr(), range.start, range.end) };
    }
    bufs.iter_mut().zip(&mut memory).for_each(|(b, m)| *b = m.bytes());
    scratch.iter_mut().for_each(|m| drop(m.bytes()));
    if faults[0].site != 0 { faults[0] } else { faults[1] }
}

/// Compiles for another architecture than this one, where the code cannot run.
pub fn compiles_elsewhere(kernel: &Kernel) {
    static ISA: OnceLock<Isa> = OnceLock::new();
    let isa = ISA.get_or_init(|| Isa::foreign("aarch64").unwrap());
    let code = jit::compile(kernel, isa).unwrap_or_else(|e| panic!("for aarch64: {e}\n{kernel}"));
    assert!(!code.is_empty());
}

/// How far results may lie apart: `absolute + relative * |expected|`.
#[derive(Clone, Copy)]
pub struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
}

pub const EXACT: Tolerance = Tolerance { relative: 0.0, absolute: 0.0 };

pub fn near(relative: f64) -> Tolerance {
    Tolerance { relative, absolute: relative }
}

/// Compares compiled code on every instruction set with the interpreter. Returns the buffers.
pub fn check(kernel: &Kernel, bufs: &[Vec<u8>], tolerance: Tolerance) -> Vec<Vec<u8>> {
    let text = kernel.to_string();
    assert_eq!(parse::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}")), *kernel, "{text}");
    let mut expected = bufs.to_vec();
    let fault = interp::run(kernel, &mut expected, 0..kernel.parts).unwrap_or_else(|e| panic!("{e}"));
    for isa in Isa::all().unwrap() {
        let mut actual = bufs.to_vec();
        assert_eq!(run(kernel, &isa, &mut actual), fault, "{} on {}", kernel.name, isa.level());
        compare(kernel, &isa, &actual, &expected, tolerance);
    }
    expected
}

/// The same, and that each instruction set has as many leaves as it should, which touch nothing outside of buffers:
/// these lie at pages without rights, once with their starts and once with their ends.
pub fn check_leaves(kernel: &Kernel, bufs: &[Vec<u8>], tolerance: Tolerance, leaves: impl Fn(Level) -> usize) {
    let expected = check(kernel, bufs, tolerance);
    for isa in Isa::all().unwrap().into_iter().filter(|isa| isa.level() != Level::Baseline) {
        let code = jit::compile(kernel, &isa).unwrap();
        assert_eq!(code.leaves(), leaves(isa.level()), "leaves of {} on {}\n{kernel}", kernel.name, isa.level());
        let library = Library::load(&[code], &isa).unwrap();
        for edge in [Edge::Start, Edge::End] {
            let mut pages: Vec<Pages> = bufs.iter().map(|b| Pages::new(b, edge)).collect();
            let mut fault = Fault::default();
            let mut table: Vec<*mut u8> = pages.iter_mut().map(Pages::start).collect();
            table.push((&raw mut fault).cast());
            // SAFETY: the table has the buffers at their declared lengths and a fault cell.
            unsafe { library.kernels()[0](table.as_ptr(), 0, kernel.parts) };
            let mut actual = bufs.to_vec();
            for (buf, page) in actual.iter_mut().zip(&mut pages) {
                let len = buf.len();
                // SAFETY: the pages have the bytes of the buffer from there on.
                buf.copy_from_slice(unsafe { std::slice::from_raw_parts(page.start(), len) });
            }
            compare(kernel, &isa, &actual, &expected, tolerance);
        }
    }
}

fn compare(kernel: &Kernel, isa: &Isa, actual: &[Vec<u8>], expected: &[Vec<u8>], tolerance: Tolerance) {
    for (i, buf) in kernel.bufs.iter().enumerate().filter(|(_, b)| b.access != Access::Scratch) {
        let (a, e) = (floats(buf, &actual[i]), floats(buf, &expected[i]));
        for (j, (a, e)) in a.iter().zip(&e).enumerate() {
            let same = a == e || a.is_nan() && e.is_nan();
            let close = (a - e).abs() <= tolerance.absolute + tolerance.relative * e.abs();
            assert!(
                same || close,
                "{} on {}: b{i}[{j}] is {a:e}, expected {e:e}\n{}",
                kernel.name,
                isa.level(),
                jit::clif(kernel, isa).unwrap_or_default()
            );
        }
    }
}

/// The elements of a buffer as doubles.
pub fn floats(buf: &Buf, bytes: &[u8]) -> Vec<f64> {
    let size = buf.dtype.size();
    bytes
        .chunks(size)
        .map(|c| match buf.dtype {
            DType::F32 => f64::from(f32::from_ne_bytes(c.try_into().unwrap())),
            DType::F64 => f64::from_ne_bytes(c.try_into().unwrap()),
            DType::I64 => i64::from_ne_bytes(c.try_into().unwrap()) as f64,
            DType::I32 => f64::from(i32::from_ne_bytes(c.try_into().unwrap())),
            DType::U8 | DType::Bool => f64::from(c[0]),
        })
        .collect()
}

/// A generator of numbers without structure.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Uniform in -1..1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// Contents for the buffers of a kernel: floats in -2..2, small integers, truth values.
pub fn fill(kernel: &Kernel, seed: u64) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let element = |numbers: &mut Numbers, dtype: DType| -> Vec<u8> {
        let x = numbers.unit() * 2.0;
        match dtype {
            DType::F32 => (x as f32).to_ne_bytes().to_vec(),
            DType::F64 => x.to_ne_bytes().to_vec(),
            DType::I64 => ((x * 50.0) as i64).to_ne_bytes().to_vec(),
            DType::I32 => ((x * 50.0) as i32).to_ne_bytes().to_vec(),
            DType::U8 => vec![(x * 64.0 + 128.0) as u8],
            DType::Bool => vec![u8::from(x > 0.0)],
        }
    };
    let bytes = |numbers: &mut Numbers, b: &Buf| (0..b.len).flat_map(|_| element(numbers, b.dtype)).collect();
    kernel.bufs.iter().map(|b| bytes(&mut numbers, b)).collect()
}

/// Bytes of floats.
pub fn f32s(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_ne_bytes).collect()
}
