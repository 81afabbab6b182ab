//! Random numbers of simulated data and environments: SplitMix64, the same on every machine.

/// A generator; equal seeds give equal numbers.
pub struct Random(pub u64);

impl Random {
    /// A number from 0 to `end - 1`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * end as u128) >> 64) as usize
    }

    /// A number from `low` on, below `high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.below(1 << 24) as f32 / (1 << 24) as f32)
    }

    /// A normal number of mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f32 {
        let (radius, angle) = (self.between(0.0, 1.0), self.between(0.0, std::f32::consts::TAU));
        (-2.0 * (1.0 - radius).ln()).sqrt() * angle.cos()
    }
}
