//! Random numbers by counter (Philox 4x32-10): element `index` of a stream depends on nothing but its key and index.

/// Ten rounds of Philox 4x32: four random words for a counter under a key (Salmon et al., 2011).
pub fn philox(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let (mut k, mut c) = (key, counter);
    for _ in 0..10 {
        let (a, b) = (0xD251_1F53_u64 * u64::from(c[0]), 0xCD9E_8D57_u64 * u64::from(c[2]));
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// Uniform in [0, 1), a multiple of 2^-24. `seed` is the key input of a graph: seed and step.
pub fn uniform(seed: [i64; 2], stream: u32, index: u64) -> f32 {
    unit(words(seed, stream, index)[0])
}

/// Standard normal, by Box and Muller's transform.
pub fn normal(seed: [i64; 2], stream: u32, index: u64) -> f32 {
    let w = words(seed, stream, index);
    // 1 - u lies in (0, 1], where the logarithm is finite.
    let radius = (-2.0 * (1.0 - f64::from(unit(w[0]))).ln()).sqrt();
    (radius * (std::f64::consts::TAU * f64::from(unit(w[1]))).cos()) as f32
}

fn words(seed: [i64; 2], stream: u32, index: u64) -> [u32; 4] {
    let key = [seed[0] as u32, (seed[0] >> 32) as u32];
    philox(key, [index as u32, (index >> 32) as u32, stream, seed[1] as u32])
}

fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_vectors() {
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
        assert_eq!(philox([u32::MAX; 2], [u32::MAX; 4]), [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]);
    }

    #[test]
    fn moments() {
        let n = 20_000;
        let mean = |f: &dyn Fn(u64) -> f32| (0..n).map(|i| f64::from(f(i))).sum::<f64>() / n as f64;
        assert!((mean(&|i| uniform([7, 1], 2, i)) - 0.5).abs() < 0.01);
        assert!(mean(&|i| normal([7, 1], 2, i)).abs() < 0.03);
        assert!((mean(&|i| normal([7, 1], 2, i).powi(2)) - 1.0).abs() < 0.04);
        assert!(uniform([7, 1], 2, 0) != uniform([7, 2], 2, 0) && uniform([7, 1], 2, 0) != uniform([7, 1], 3, 0));
    }
}
