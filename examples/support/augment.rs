//! Views of an image: turned, scaled and moved a little, at random.

use dl::ndarray::{Array4, ArrayRef2, Axis};

use super::Random;

/// How far views differ from their image.
#[derive(Clone, Copy, Debug)]
pub struct Views {
    /// The largest angle, in degrees.
    pub degrees: f32,
    /// The largest factor of growth or shrinking, above 1.
    pub zoom: f32,
    /// The largest way, in pixels.
    pub pixels: f32,
    /// The standard deviation of what is added to each pixel.
    pub noise: f32,
}

impl Views {
    /// One view of each image `[N, C, H, W]`; what comes in at the edges is 0.
    pub fn of(self, images: &Array4<f32>, random: &mut Random) -> Array4<f32> {
        let mut views = Array4::zeros(images.raw_dim());
        for (image, mut view) in images.axis_iter(Axis(0)).zip(views.axis_iter_mut(Axis(0))) {
            let angle = random.between(-self.degrees, self.degrees).to_radians();
            let zoom = random.between(-1.0, 1.0) * self.zoom.ln();
            let (sin, cos) = (zoom.exp() * angle.sin(), zoom.exp() * angle.cos());
            let (dy, dx) = (random.between(-self.pixels, self.pixels), random.between(-self.pixels, self.pixels));
            for (from, mut to) in image.outer_iter().zip(view.outer_iter_mut()) {
                let centre = ((from.nrows() - 1) as f32 / 2.0, (from.ncols() - 1) as f32 / 2.0);
                for ((y, x), pixel) in to.indexed_iter_mut() {
                    let (y, x) = (y as f32 - centre.0 - dy, x as f32 - centre.1 - dx);
                    *pixel = between_pixels(&from, centre.0 + cos * y - sin * x, centre.1 + sin * y + cos * x);
                    if self.noise > 0.0 {
                        *pixel += self.noise * random.normal();
                    }
                }
            }
        }
        views
    }
}

/// The value at a place between pixels: the mean of the four around it, by distance.
fn between_pixels(image: &ArrayRef2<f32>, y: f32, x: f32) -> f32 {
    let at = |y: f32, x: f32| {
        let inside = y >= 0.0 && x >= 0.0;
        image.get((y as usize, x as usize)).copied().filter(|_| inside).unwrap_or(0.0)
    };
    let (top, left) = (y.floor(), x.floor());
    let (down, right) = (y - top, x - left);
    let row = |y| (1.0 - right) * at(y, left) + right * at(y, left + 1.0);
    (1.0 - down) * row(top) + down * row(top + 1.0)
}
