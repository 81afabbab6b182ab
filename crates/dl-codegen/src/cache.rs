//! A cache of machine code, by kernel.
//!
//! It holds code weakly: what is in executable memory belongs to those who run it, each through a [`LoadedKernels`]. A kernel that
//! one of them has is not compiled again for another, and threads that need the same kernel at once compile it once.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::Error;
use crate::abi::KernelFn;
use crate::isa::{Isa, Level};
use crate::jit::Library;
use crate::kernel::Kernel;

/// A kernel that equals every other one of its structure, whatever their names. Cheap to clone and to hash.
///
/// ```
/// use dl_codegen::cache::Unnamed;
/// use dl_codegen::kernel::Builder;
///
/// let [a, b, c] = [("a", 1), ("b", 1), ("b", 2)].map(|(name, parts)| Unnamed::from(Builder::new(name, parts).finish()));
/// assert!(a == b && b != c);
/// assert_eq!(a.kernel().name, "a");
/// ```
#[derive(Clone, Debug)]
pub struct Unnamed {
    kernel: Arc<Kernel>,
    hash: u64,
}

impl Unnamed {
    /// The kernel, with its name.
    ///
    /// ```
    /// # use dl_codegen::{cache::Unnamed, kernel::Builder};
    /// assert_eq!(Unnamed::from(Builder::new("a", 3).finish()).kernel().parts, 3);
    /// ```
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }
}

impl From<Kernel> for Unnamed {
    fn from(kernel: Kernel) -> Unnamed {
        let mut hasher = DefaultHasher::new();
        structure(&kernel).hash(&mut hasher);
        Unnamed { kernel: Arc::new(kernel), hash: hasher.finish() }
    }
}

impl PartialEq for Unnamed {
    fn eq(&self, other: &Unnamed) -> bool {
        self.hash == other.hash && structure(&self.kernel) == structure(&other.kernel)
    }
}

impl Eq for Unnamed {}

impl Hash for Unnamed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// All that machine code depends on.
fn structure(kernel: &Kernel) -> impl Eq + Hash {
    let Kernel { name: _, bufs, parts, vars, values, body } = kernel;
    (bufs, parts, vars, values, body)
}

/// Machine code of kernels, shared by all who hold a clone of it.
///
/// What keeps code in memory are the [`LoadedKernels`]s that were made with it, never the cache itself. The kernels compiled for
/// one `LoadedKernels` lie in one piece of memory, which is freed once no `LoadedKernels` uses any of them; then they are forgotten.
///
/// ```
/// use dl_codegen::{Isa, cache::{CodeCache, Unnamed}, kernel::Builder};
///
/// let (cache, isa) = (CodeCache::default(), Isa::new(None)?);
/// let kernels = [1, 2].map(|parts| Unnamed::from(Builder::new("k", parts).finish()));
/// let both = cache.compile(&kernels, &isa, 1)?;
/// let one = cache.clone().compile(&kernels[1..], &isa, 1)?;
/// assert_eq!((both.compiled(), one.compiled(), one.found()), (2, 0, 1));
/// drop((both, one));
/// assert!(cache.is_empty());
/// # Ok::<(), dl_codegen::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CodeCache(Arc<Shared>);

#[derive(Default)]
struct Shared {
    slots: Mutex<HashMap<Key, Slot>>,
    /// A kernel is made, or will not be.
    settled: Condvar,
}

/// One machine has one instruction set of each level.
type Key = (Level, Unnamed);

enum Slot {
    /// A thread is compiling it.
    Claimed,
    Made(Weak<Library>, usize),
}

/// Kernels in executable memory, for as long as this lives.
#[derive(Debug)]
pub struct LoadedKernels {
    cache: CodeCache,
    functions: Vec<KernelFn>,
    libraries: Vec<Arc<Library>>,
    compiled: usize,
    code_size: usize,
}

impl CodeCache {
    /// The code of kernels. Those that the cache does not have are compiled, on up to `threads` threads where that pays,
    /// or waited for if another thread is compiling them.
    ///
    /// # Errors
    /// As [`compile`](crate::jit::compile); or there is no executable memory.
    ///
    /// ```
    /// # use dl_codegen::{Isa, cache::CodeCache};
    /// assert!(CodeCache::default().compile(&[], &Isa::new(None)?, 1)?.functions().is_empty());
    /// # Ok::<(), dl_codegen::Error>(())
    /// ```
    pub fn compile(&self, kernels: &[Unnamed], isa: &Isa, threads: usize) -> Result<LoadedKernels, Error> {
        if !isa.is_native() {
            // Also if there is code for this CPU under the same level.
            return Err(Error::Isa("the code is for another architecture".into()));
        }
        let keys: Vec<Key> = kernels.iter().map(|kernel| (isa.level(), kernel.clone())).collect();
        let mut functions = vec![None; keys.len()];
        let mut code =
            LoadedKernels { cache: self.clone(), functions: vec![], libraries: vec![], compiled: 0, code_size: 0 };
        loop {
            let claims = self.find(&keys, &mut functions, &mut code.libraries);
            if claims.keys.is_empty() {
                break;
            }
            let kernels: Vec<&Kernel> = claims.keys.iter().map(|(_, kernel)| kernel.kernel()).collect();
            let library = Arc::new(Library::compile(&kernels, isa, threads)?);
            code.compiled += kernels.len();
            code.code_size += library.code_size();
            // Kept, so that the next look finds it.
            code.libraries.push(Arc::clone(&library));
            claims.publish(&library);
        }
        code.functions = functions.into_iter().flatten().collect();
        Ok(code)
    }

    /// The number of kernels whose code is in memory.
    ///
    /// ```
    /// assert_eq!(dl_codegen::cache::CodeCache::default().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.slots().values().filter(|slot| slot.is_alive()).count()
    }

    /// Whether no code is in memory.
    ///
    /// ```
    /// assert!(dl_codegen::cache::CodeCache::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills in the functions that are there, with the libraries that hold them. Of the rest it claims what no other
    /// thread is compiling; only if that is nothing it waits until all is there or something can be claimed.
    fn find(&self, keys: &[Key], functions: &mut [Option<KernelFn>], libraries: &mut Vec<Arc<Library>>) -> Claims<'_> {
        let mut claims = Claims { cache: self, keys: vec![] };
        let mut slots = self.slots();
        loop {
            for (key, function) in keys.iter().zip(&mut *functions).filter(|(_, function)| function.is_none()) {
                match slots.get(key) {
                    // By another thread, or right now for an equal kernel.
                    Some(Slot::Claimed) => continue,
                    Some(Slot::Made(library, at)) => {
                        if let Some(library) = library.upgrade() {
                            *function = Some(library.kernels()[*at]);
                            if !libraries.iter().any(|other| Arc::ptr_eq(other, &library)) {
                                libraries.push(library);
                            }
                            continue;
                        }
                    }
                    None => {}
                }
                slots.insert(key.clone(), Slot::Claimed);
                claims.keys.push(key.clone());
            }
            if !claims.keys.is_empty() || functions.iter().all(Option::is_some) {
                return claims;
            }
            slots = self.0.settled.wait(slots).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeCache({} kernels)", self.len())
    }
}

impl Slot {
    /// Whether somebody has the code.
    fn is_alive(&self) -> bool {
        matches!(self, Slot::Made(library, _) if library.strong_count() > 0)
    }
}

/// Kernels that this thread has promised to compile. If it does not, whoever waits for them has to.
struct Claims<'a> {
    cache: &'a CodeCache,
    keys: Vec<Key>,
}

impl Claims<'_> {
    /// Makes known where they are: in the order in which they were claimed.
    fn publish(mut self, library: &Arc<Library>) {
        let mut slots = self.cache.slots();
        for (at, key) in std::mem::take(&mut self.keys).into_iter().enumerate() {
            slots.insert(key, Slot::Made(Arc::downgrade(library), at));
        }
        drop(slots);
        self.cache.0.settled.notify_all();
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            let mut slots = self.cache.slots();
            self.keys.iter().for_each(|key| drop(slots.remove(key)));
            drop(slots);
            self.cache.0.settled.notify_all();
        }
    }
}

impl LoadedKernels {
    /// A function for each kernel that was asked for, in that order. They may be called while this lives.
    ///
    /// ```
    /// # use dl_codegen::{Isa, cache::CodeCache, kernel::Builder};
    /// let code = CodeCache::default().compile(&[Builder::new("k", 1).finish().into()], &Isa::new(None)?, 1)?;
    /// assert_eq!(code.functions().len(), 1);
    /// # Ok::<(), dl_codegen::Error>(())
    /// ```
    pub fn functions(&self) -> &[KernelFn] {
        &self.functions
    }

    /// How many kernels were compiled for it.
    ///
    /// ```
    /// # use dl_codegen::{Isa, cache::CodeCache, kernel::Builder};
    /// let code = CodeCache::default().compile(&[Builder::new("k", 1).finish().into()], &Isa::new(None)?, 1)?;
    /// assert_eq!((code.compiled(), code.found()), (1, 0));
    /// # Ok::<(), dl_codegen::Error>(())
    /// ```
    pub fn compiled(&self) -> usize {
        self.compiled
    }

    /// How many others were asked for: those that the cache had, or got from another thread meanwhile.
    ///
    /// ```
    /// # use dl_codegen::{Isa, cache::CodeCache, kernel::Builder};
    /// let twice = [Builder::new("k", 1).finish().into(), Builder::new("same", 1).finish().into()];
    /// assert_eq!(CodeCache::default().compile(&twice, &Isa::new(None)?, 1)?.found(), 1);
    /// # Ok::<(), dl_codegen::Error>(())
    /// ```
    pub fn found(&self) -> usize {
        self.functions.len() - self.compiled
    }

    /// Bytes of machine code that were compiled for it.
    ///
    /// ```
    /// # use dl_codegen::{Isa, cache::CodeCache, kernel::Builder};
    /// let code = CodeCache::default().compile(&[Builder::new("k", 1).finish().into()], &Isa::new(None)?, 1)?;
    /// assert!(code.code_size() > 0);
    /// # Ok::<(), dl_codegen::Error>(())
    /// ```
    pub fn code_size(&self) -> usize {
        self.code_size
    }
}

impl Drop for LoadedKernels {
    fn drop(&mut self) {
        self.libraries.clear();
        self.cache.slots().retain(|_, slot| matches!(slot, Slot::Claimed) || slot.is_alive());
    }
}
