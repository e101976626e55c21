//! Which object is looked at when: one pass at a time for each, at the earliest time that anybody
//! asked for, and again when something happened meanwhile. It holds keys and times, nothing else.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use tokio::time::Instant;

/// A queue of keys with due times.
#[derive(Debug)]
pub struct Queue<K> {
    due: BTreeSet<(Instant, K)>,
    when: HashMap<K, Instant>,
    running: HashSet<K>,
    again: HashMap<K, Instant>,
}

impl<K: Clone + Ord + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self {
            due: BTreeSet::new(),
            when: HashMap::new(),
            running: HashSet::new(),
            again: HashMap::new(),
        }
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// Asks for a pass at `at`; an earlier time that was asked for stays.
    pub fn ask(&mut self, key: K, at: Instant) {
        if self.running.contains(&key) {
            let asked = self.again.entry(key).or_insert(at);
            *asked = (*asked).min(at);
            return;
        }
        match self.when.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => {
                self.due.remove(&(*later, key.clone()));
            }
            None => {}
        }
        self.when.insert(key.clone(), at);
        self.due.insert((at, key));
    }

    /// When the next pass is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the next key that is due at `now`; it counts as running until [`Queue::done`].
    pub fn take(&mut self, now: Instant) -> Option<K> {
        if self.next_due()? > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.when.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// A pass is over; `next` is when it wants another.
    pub fn done(&mut self, key: &K, next: Option<Instant>) {
        self.running.remove(key);
        let asked = self.again.remove(key);
        if let Some(at) = [next, asked].into_iter().flatten().min() {
            self.ask(key.clone(), at);
        }
    }

    /// How many passes are running.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How many keys wait.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_wish_wins_and_a_wish_during_a_pass_is_kept() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut queue = Queue::default();
        queue.ask("a", later);
        queue.ask("a", now);
        queue.ask("a", later);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.take(now), Some("a"));
        assert_eq!(queue.take(later), None);
        queue.ask("a", now);
        assert_eq!(queue.take(later), None, "one pass at a time");
        queue.done(&"a", Some(later));
        assert_eq!(queue.take(now), Some("a"));
        queue.done(&"a", None);
        assert!(queue.is_empty());
    }
}
