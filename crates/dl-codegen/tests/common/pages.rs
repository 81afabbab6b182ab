//! Memory between pages that cannot be touched, so that an access outside of a buffer ends the test.

/// Which end of a buffer lies at such a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Start,
    End,
}

/// Bytes at an edge.
#[cfg(target_os = "linux")]
pub struct Pages {
    map: *mut u8,
    size: usize,
    start: *mut u8,
}

#[cfg(target_os = "linux")]
mod sys {
    unsafe extern "C" {
        pub fn mmap(at: *mut u8, size: usize, protection: i32, flags: i32, file: i32, offset: i64) -> *mut u8;
        pub fn mprotect(at: *mut u8, size: usize, protection: i32) -> i32;
        pub fn munmap(at: *mut u8, size: usize) -> i32;
    }
    pub const READ_WRITE: i32 = 3;
    pub const PRIVATE_ANONYMOUS: i32 = 0x22;
    pub const PAGE: usize = 4096;
}

#[cfg(target_os = "linux")]
impl Pages {
    pub fn new(bytes: &[u8], edge: Edge) -> Pages {
        use sys::*;
        let inside = bytes.len().next_multiple_of(PAGE).max(PAGE);
        let size = inside + 2 * PAGE;
        // SAFETY: a fresh mapping, of which the pages inside get rights, and bytes within these are written.
        unsafe {
            let map = mmap(std::ptr::null_mut(), size, 0, PRIVATE_ANONYMOUS, -1, 0);
            assert_ne!(map as isize, -1, "no memory");
            assert_eq!(mprotect(map.add(PAGE), inside, READ_WRITE), 0);
            let start = match edge {
                Edge::Start => map.add(PAGE),
                Edge::End => map.add(PAGE + inside - bytes.len()),
            };
            start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Pages { map, size, start }
        }
    }

    pub fn start(&mut self) -> *mut u8 {
        self.start
    }
}

#[cfg(target_os = "linux")]
impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nothing uses any more.
        unsafe { sys::munmap(self.map, self.size) };
    }
}

/// Elsewhere without the pages.
#[cfg(not(target_os = "linux"))]
pub struct Pages(Vec<u8>);

#[cfg(not(target_os = "linux"))]
impl Pages {
    pub fn new(bytes: &[u8], _: Edge) -> Pages {
        Pages(bytes.to_vec())
    }

    pub fn start(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
}
