//! A bounded cache whose values are made by whichever thread needs them first, while other threads go on.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock};

use crate::pool::lock;

/// Values by key. Once there are more than `most`, the one that was not asked for the longest is dropped.
pub(crate) struct Cache<K, V> {
    most: usize,
    inner: Mutex<Inner<K, V>>,
}

struct Inner<K, V> {
    slots: HashMap<K, Slot<V>>,
    /// Counts the uses.
    clock: u64,
}

struct Slot<V> {
    entry: Arc<Entry<V>>,
    last_use: u64,
}

struct Entry<V> {
    /// Empty while the value is being made, and after that has failed.
    value: OnceLock<Arc<V>>,
    /// Held by the thread that makes the value.
    making: Mutex<()>,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// Keeps `most` values, at least one.
    pub(crate) fn new(most: usize) -> Cache<K, V> {
        Cache { most: most.max(1), inner: Mutex::new(Inner { slots: HashMap::new(), clock: 0 }) }
    }

    /// The value of `key`, if it is kept.
    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut inner = lock(&self.inner);
        inner.clock += 1;
        let now = inner.clock;
        let slot = inner.slots.get_mut(key)?;
        slot.last_use = now;
        slot.entry.value.get().map(Arc::clone)
    }

    /// The value of `key`, made now if there is none: once, however many threads ask for it. Nothing else is locked
    /// meanwhile. After an error the next one to ask tries again.
    pub(crate) fn get_or_make<E>(&self, key: &K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let entry = self.entry(key);
        if let Some(value) = entry.value.get() {
            return Ok(Arc::clone(value));
        }
        let _making = lock(&entry.making);
        if let Some(value) = entry.value.get() {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(make()?);
        Ok(Arc::clone(entry.value.get_or_init(|| value)))
    }

    /// The keys of the values that have been made and kept.
    pub(crate) fn keys(&self) -> Vec<K> {
        let inner = lock(&self.inner);
        let made = inner.slots.iter().filter(|(_, slot)| slot.entry.value.get().is_some());
        made.map(|(key, _)| key.clone()).collect()
    }

    /// The place of a value; makes room for a new one.
    fn entry(&self, key: &K) -> Arc<Entry<V>> {
        let mut inner = lock(&self.inner);
        inner.clock += 1;
        let now = inner.clock;
        if let Some(slot) = inner.slots.get_mut(key) {
            slot.last_use = now;
            return Arc::clone(&slot.entry);
        }
        if inner.slots.len() >= self.most {
            let oldest = inner.slots.iter().min_by_key(|(_, slot)| slot.last_use).map(|(key, _)| key.clone());
            oldest.and_then(|key| inner.slots.remove(&key));
        }
        let entry = Arc::new(Entry { value: OnceLock::new(), making: Mutex::new(()) });
        inner.slots.insert(key.clone(), Slot { entry: Arc::clone(&entry), last_use: now });
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::thread;
    use std::time::Duration;

    fn put(cache: &Cache<u32, u32>, key: u32) -> u32 {
        *cache.get_or_make(&key, || Ok::<_, Infallible>(key * 10)).unwrap()
    }

    fn is_kept(cache: &Cache<u32, u32>, key: u32) -> bool {
        cache.keys().contains(&key)
    }

    #[test]
    fn two_values_are_made_at_the_same_time() {
        let cache = Cache::new(8);
        let ((to_second, from_first), (to_first, from_second)) = (channel(), channel());
        let meet = |key: u32, to: std::sync::mpsc::Sender<()>, from: std::sync::mpsc::Receiver<()>| {
            let made = cache.get_or_make(&key, || {
                let _ = to.send(());
                from.recv_timeout(Duration::from_secs(20)).map(|()| key)
            });
            made.map(|value| *value)
        };
        let made = thread::scope(|scope| {
            let first = scope.spawn(|| meet(1, to_second, from_second));
            let second = scope.spawn(|| meet(2, to_first, from_first));
            (first.join().unwrap(), second.join().unwrap())
        });
        assert_eq!(made, (Ok::<_, RecvTimeoutError>(1), Ok(2)), "each waits in the middle for the other to begin");
    }

    #[test]
    fn threads_that_need_the_same_value_make_it_once() {
        let (cache, made) = (Cache::new(8), AtomicUsize::new(0));
        let make = || {
            thread::sleep(Duration::from_millis(5));
            Ok::<_, Infallible>(made.fetch_add(1, Ordering::SeqCst))
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| cache.get_or_make(&7, make))).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap().map(|v| *v) == Ok(0)));
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn the_least_recently_used_goes() {
        let cache = Cache::new(3);
        (1..=3).for_each(|key| _ = put(&cache, key));
        assert_eq!(cache.get(&1).as_deref(), Some(&10));
        assert_eq!((put(&cache, 4), cache.get(&5)), (40, None));
        assert!(!is_kept(&cache, 2) && [1, 3, 4].iter().all(|&key| is_kept(&cache, key)), "{:?}", cache.keys());
        assert_eq!((put(&cache, 2), cache.keys().len()), (20, 3));
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache = Cache::new(1);
        assert_eq!(cache.get_or_make(&1, || Err("no")), Err("no"));
        assert!(cache.keys().is_empty());
        assert_eq!(put(&cache, 1), 10);
    }
}
