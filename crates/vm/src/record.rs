//! The host's record of what clients have written into a machine, and the comparison with what is
//! there after a power cut. Each key has one writer, which writes again after an answer only; each
//! value is written once.

use std::collections::BTreeMap;

/// A key of the store with its value and the revision that wrote it.
pub type Contents = BTreeMap<String, (String, u64)>;

/// The writes since the last comparison, in order for each key.
#[derive(Debug, Default)]
pub struct Record {
    keys: BTreeMap<String, Vec<Write>>,
    /// Every revision that an answer named, with its key.
    revisions: BTreeMap<u64, String>,
    /// The newest revision before the last power cut.
    floor: u64,
    acknowledged: usize,
}

#[derive(Debug, Clone)]
struct Write {
    /// `None` deletes the key.
    value: Option<String>,
    answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// None yet, or none for ever.
    Open,
    /// A deletion's answer has no revision.
    Acknowledged(Option<u64>),
}

/// A write under way.
#[derive(Debug)]
pub struct Ticket {
    key: String,
    index: usize,
}

/// What was acknowledged at some moment: for each key the number of its writes up to the last one
/// with an answer, and the newest revision.
#[derive(Debug, Clone)]
pub struct Moment {
    keys: BTreeMap<String, usize>,
    newest: u64,
    acknowledged: usize,
}

impl Moment {
    /// The newest revision that an answer had named.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// How many writes had been acknowledged since the record began.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }
}

impl Record {
    /// Notes that a write is about to be sent.
    pub fn begin(&mut self, key: &str, value: Option<String>) -> Ticket {
        let writes = self.keys.entry(key.to_owned()).or_default();
        writes.push(Write {
            value,
            answer: Answer::Open,
        });
        Ticket {
            key: key.to_owned(),
            index: writes.len() - 1,
        }
    }

    /// Notes that a write was acknowledged.
    ///
    /// # Errors
    /// When its revision was used before.
    pub fn acknowledge(&mut self, ticket: Ticket, revision: Option<u64>) -> Result<(), String> {
        let Ticket { key, index } = ticket;
        let write = self.keys.get_mut(&key).and_then(|all| all.get_mut(index));
        let Some(write) = write else {
            return Err(format!("{key}: the record has been settled meanwhile"));
        };
        write.answer = Answer::Acknowledged(revision);
        self.acknowledged += 1;
        let Some(revision) = revision else {
            return Ok(());
        };
        if revision <= self.floor {
            let floor = self.floor;
            return Err(format!("{key}: revision {revision} after revision {floor}"));
        }
        match self.revisions.insert(revision, key.clone()) {
            None => Ok(()),
            Some(other) => Err(format!("revision {revision} is of {other} and of {key}")),
        }
    }

    /// How many writes were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// What is acknowledged now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let last = |writes: &Vec<Write>| {
            let acknowledged = writes
                .iter()
                .rposition(|write| write.answer != Answer::Open);
            acknowledged.map_or(0, |index| index + 1)
        };
        Moment {
            keys: self
                .keys
                .iter()
                .map(|(key, writes)| (key.clone(), last(writes)))
                .collect(),
            newest: self.newest(),
            acknowledged: self.acknowledged,
        }
    }

    fn newest(&self) -> u64 {
        let newest = self.revisions.last_key_value();
        newest.map_or(self.floor, |(revision, _)| *revision)
    }

    /// Compares with what is there. For each key this must be the result of a write that is not
    /// older than the last one that was acknowledged at `moment`. Returns what is wrong.
    #[must_use]
    pub fn check(&self, moment: &Moment, found: &Contents) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, writes) in &self.keys {
            let least = moment.keys.get(key).copied().unwrap_or(0);
            if let Err(what) = self.check_key(key, writes, least, found.get(key)) {
                wrong.push(format!("{key}: {what}"));
            }
        }
        let unknown = found.keys().filter(|key| !self.keys.contains_key(*key));
        wrong.extend(unknown.map(|key| format!("{key}: was never written")));
        wrong
    }

    /// `least` is the number of writes up to the last one that must not be lost.
    fn check_key(
        &self,
        key: &str,
        writes: &[Write],
        least: usize,
        found: Option<&(String, u64)>,
    ) -> Result<(), String> {
        let last = least.checked_sub(1).and_then(|index| writes.get(index));
        let Some((value, revision)) = found else {
            let deleted = writes.iter().skip(least.saturating_sub(1));
            return match last {
                None => Ok(()),
                Some(_) if deleted.into_iter().any(|write| write.value.is_none()) => Ok(()),
                Some(last) => Err(format!("lost: {}", shown(last.value.as_deref()))),
            };
        };
        let written = writes
            .iter()
            .position(|write| write.value.as_ref() == Some(value));
        let Some(index) = written else {
            return Err(format!(
                "has a value that was never written: {}",
                shown(Some(value))
            ));
        };
        if index + 1 < least {
            let last = last.and_then(|write| write.value.as_deref());
            return Err(format!(
                "has {} again, after {}",
                shown(Some(value)),
                shown(last)
            ));
        }
        match writes[index].answer {
            Answer::Acknowledged(Some(was)) if was != *revision => {
                Err(format!("revision {revision}, acknowledged as {was}"))
            }
            Answer::Open if self.revisions.contains_key(revision) => {
                let other = &self.revisions[revision];
                Err(format!("revision {revision} is of {other} and of {key}"))
            }
            _ => Ok(()),
        }
    }

    /// Goes on from what was found after a power cut: writes without an answer are decided.
    pub fn settle(&mut self, found: &Contents) {
        self.floor = self.newest();
        self.keys.clear();
        for (key, (value, revision)) in found {
            let write = Write {
                value: Some(value.clone()),
                answer: Answer::Acknowledged(Some(*revision)),
            };
            self.keys.insert(key.clone(), vec![write]);
            self.floor = self.floor.max(*revision);
        }
        self.revisions.clear();
    }
}

/// The beginning of a value.
fn shown(value: Option<&str>) -> String {
    value.map_or_else(
        || "a deletion".to_owned(),
        |value| value.chars().take(40).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(record: &mut Record, key: &str, value: &str, revision: u64) {
        let ticket = record.begin(key, Some(value.to_owned()));
        record.acknowledge(ticket, Some(revision)).unwrap();
    }

    fn contents(entries: &[(&str, &str, u64)]) -> Contents {
        let entries = entries.iter();
        entries
            .map(|(key, value, revision)| ((*key).into(), ((*value).into(), *revision)))
            .collect()
    }

    /// What the record finds wrong with these contents.
    fn wrong(record: &Record, entries: &[(&str, &str, u64)]) -> String {
        record
            .check(&record.moment(), &contents(entries))
            .join("; ")
    }

    #[test]
    fn acknowledged_writes_must_be_there() {
        let mut record = Record::default();
        put(&mut record, "a", "a1", 1);
        put(&mut record, "a", "a2", 2);
        assert_eq!(wrong(&record, &[("a", "a2", 2)]), "");
        assert_eq!(wrong(&record, &[]), "a: lost: a2");
        assert_eq!(
            wrong(&record, &[("a", "a1", 1)]),
            "a: has a1 again, after a2"
        );
        assert_eq!(
            wrong(&record, &[("a", "a2", 9)]),
            "a: revision 9, acknowledged as 2"
        );
        let unknown = wrong(&record, &[("a", "x", 2)]);
        assert_eq!(unknown, "a: has a value that was never written: x");
        let other = wrong(&record, &[("a", "a2", 2), ("b", "x", 3)]);
        assert_eq!(other, "b: was never written");
    }

    #[test]
    fn a_write_without_an_answer_may_be_there_or_not() {
        let mut record = Record::default();
        put(&mut record, "a", "a1", 1);
        record.begin("a", Some("a2".into()));
        record.begin("b", Some("b1".into()));
        assert_eq!(wrong(&record, &[("a", "a1", 1)]), "");
        assert_eq!(wrong(&record, &[("a", "a2", 2), ("b", "b1", 3)]), "");
        assert_eq!(
            wrong(&record, &[("a", "a2", 1)]),
            "a: revision 1 is of a and of a"
        );
        record.begin("a", None);
        assert_eq!(wrong(&record, &[]), "");
    }

    #[test]
    fn a_deletion_stays() {
        let mut record = Record::default();
        put(&mut record, "a", "a1", 1);
        let ticket = record.begin("a", None);
        let before = record.moment();
        assert_eq!(record.check(&before, &contents(&[("a", "a1", 1)])), [""; 0]);
        record.acknowledge(ticket, None).unwrap();
        assert_eq!(wrong(&record, &[]), "");
        assert_eq!(
            wrong(&record, &[("a", "a1", 1)]),
            "a: has a1 again, after a deletion"
        );
        // At the earlier moment both were possible, and still are.
        assert_eq!(record.check(&before, &contents(&[("a", "a1", 1)])), [""; 0]);
        assert_eq!(record.check(&before, &contents(&[])), [""; 0]);
    }

    #[test]
    fn revisions_are_used_once() {
        let mut record = Record::default();
        put(&mut record, "a", "a1", 5);
        let ticket = record.begin("b", Some("b1".into()));
        let again = record.acknowledge(ticket, Some(5)).unwrap_err();
        assert_eq!(again, "revision 5 is of a and of b");
        record.settle(&contents(&[("a", "a1", 5), ("b", "b1", 7)]));
        assert_eq!(record.moment().newest(), 7);
        let ticket = record.begin("a", Some("a2".into()));
        let again = record.acknowledge(ticket, Some(6)).unwrap_err();
        assert_eq!(again, "a: revision 6 after revision 7");
    }
}
