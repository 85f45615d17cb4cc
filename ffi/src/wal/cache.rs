//! A bounded cache that forgets what was used least recently.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Mutex;

use crate::bytes::lock;

struct Slot<V> {
    tick: u64,
    weight: usize,
    value: V,
}

struct Inner<K, V> {
    slots: HashMap<K, Slot<V>>,
    order: BTreeMap<u64, K>,
    tick: u64,
    weight: usize,
}

/// Values are cheap to clone (`Arc`s); the weight of all kept ones stays at or under the maximum.
pub struct Lru<K, V> {
    inner: Mutex<Inner<K, V>>,
    weight_max: usize,
}

impl<K: Copy + Eq + Hash, V: Clone> Lru<K, V> {
    pub fn new(weight_max: usize) -> Self {
        let (slots, order) = (HashMap::new(), BTreeMap::new());
        Lru {
            inner: Mutex::new(Inner {
                slots,
                order,
                tick: 0,
                weight: 0,
            }),
            weight_max,
        }
    }

    /// The value under `key`, now the most recently used.
    pub fn get(&self, key: K) -> Option<V> {
        let inner = &mut *lock(&self.inner);
        let slot = inner.slots.get_mut(&key)?;
        inner.order.remove(&slot.tick);
        inner.tick += 1;
        slot.tick = inner.tick;
        inner.order.insert(inner.tick, key);
        Some(slot.value.clone())
    }

    /// Keeps a value and forgets old ones beyond the bound.
    pub fn put(&self, key: K, value: V, weight: usize) {
        let inner = &mut *lock(&self.inner);
        inner.forget(&key);
        inner.tick += 1;
        inner.weight += weight;
        inner.order.insert(inner.tick, key);
        inner.slots.insert(
            key,
            Slot {
                tick: inner.tick,
                weight,
                value,
            },
        );
        while inner.weight > self.weight_max && inner.slots.len() > 1 {
            let Some((_, oldest)) = inner.order.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            inner.forget(&oldest);
        }
    }

    /// Forgets one value.
    pub fn remove(&self, key: K) {
        lock(&self.inner).forget(&key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let inner = &mut *lock(&self.inner);
        inner.slots.clear();
        inner.order.clear();
        inner.weight = 0;
    }

    /// Values kept.
    pub fn len(&self) -> usize {
        lock(&self.inner).slots.len()
    }

    /// True when nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash, V> Inner<K, V> {
    fn forget(&mut self, key: &K) {
        if let Some(slot) = self.slots.remove(key) {
            self.order.remove(&slot.tick);
            self.weight -= slot.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_least_recently_used() {
        let cache = Lru::new(3);
        for key in 0..3 {
            cache.put(key, key * 10, 1);
        }
        assert_eq!(cache.get(0), Some(0));
        cache.put(3, 30, 1);
        assert_eq!(cache.get(1), None);
        assert_eq!(
            (cache.get(0), cache.get(2), cache.get(3)),
            (Some(0), Some(20), Some(30))
        );
        cache.remove(2);
        cache.put(4, 40, 2);
        assert_eq!(cache.get(0), None);
        assert_eq!(cache.len(), 2);
    }
}
