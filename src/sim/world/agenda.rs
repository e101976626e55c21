//! What a companion is to do when: each key once, at the earliest time that anybody asked for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

/// A moment of the world.
pub(crate) type Time = DateTime<Utc>;

/// Keys with due times; keys of one time come in their order.
#[derive(Clone, Debug)]
pub(crate) struct Agenda<K> {
    by_key: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Agenda<K> {
    /// Notes `key` for `time`; an earlier time that is noted stays.
    pub(crate) fn by(&mut self, key: K, time: Time) {
        match self.by_key.get(&key) {
            Some(noted) if *noted <= time => {}
            _ => self.at(key, time),
        }
    }

    /// Notes `key` for exactly `time`.
    pub(crate) fn at(&mut self, key: K, time: Time) {
        self.cancel(&key);
        self.by_key.insert(key.clone(), time);
        self.by_time.insert((time, key));
    }

    /// Forgets `key`.
    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some(time) = self.by_key.remove(key) {
            self.by_time.remove(&(time, key.clone()));
        }
    }

    /// When the next key is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(time, _)| *time)
    }

    /// Takes a key that is due at `now`.
    pub(crate) fn take(&mut self, now: Time) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_time_and_then_by_order_and_each_once() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let mut agenda = Agenda::default();
        agenda.by("b", at(5));
        agenda.by("a", at(5));
        agenda.by("c", at(9));
        agenda.by("c", at(3));
        agenda.by("a", at(7));
        agenda.at("b", at(8));
        assert_eq!(agenda.next(), Some(at(3)));
        assert_eq!(agenda.take(at(2)), None);
        let taken: Vec<&str> = std::iter::from_fn(|| agenda.take(at(10))).collect();
        assert_eq!(taken, ["c", "a", "b"]);
        assert_eq!(agenda.next(), None);
    }
}
