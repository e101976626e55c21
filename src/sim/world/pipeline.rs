//! News on their way: each arrives after its delay, and none of one key overtakes another.

use std::collections::{BTreeMap, VecDeque};

use super::agenda::{Agenda, Time};

/// News by key, in the order in which they were sent.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline<K, V> {
    queues: BTreeMap<K, VecDeque<(Time, V)>>,
    agenda: Agenda<K>,
}

impl<K, V> Default for Pipeline<K, V> {
    fn default() -> Self {
        Self { queues: BTreeMap::new(), agenda: Agenda::default() }
    }
}

impl<K: Clone + Ord, V> Pipeline<K, V> {
    /// Sends news that arrive at `at`, or with those before them.
    pub(crate) fn send(&mut self, key: K, at: Time, news: V) {
        let queue = self.queues.entry(key.clone()).or_default();
        let at = queue.back().map_or(at, |(last, _)| at.max(*last));
        queue.push_back((at, news));
        self.agenda.by(key, at);
    }

    /// When the next news arrive.
    pub(crate) fn next(&self) -> Option<Time> {
        self.agenda.next()
    }

    /// Takes news that have arrived.
    pub(crate) fn take(&mut self, now: Time) -> Option<(K, V)> {
        let key = self.agenda.take(now)?;
        let queue = self.queues.get_mut(&key)?;
        let (_, news) = queue.pop_front()?;
        match queue.front() {
            Some((at, _)) => self.agenda.at(key.clone(), *at),
            None => {
                self.queues.remove(&key);
            }
        }
        Some((key, news))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn news_of_one_key_never_overtake_each_other() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let mut pipeline = Pipeline::default();
        pipeline.send("a", at(9), 1);
        pipeline.send("a", at(2), 2);
        pipeline.send("b", at(3), 3);
        assert_eq!(pipeline.take(at(8)), Some(("b", 3)));
        assert_eq!(pipeline.take(at(8)), None);
        assert_eq!(pipeline.take(at(9)), Some(("a", 1)));
        assert_eq!(pipeline.take(at(9)), Some(("a", 2)));
        assert_eq!(pipeline.next(), None);
    }
}
