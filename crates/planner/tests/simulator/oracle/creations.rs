//! Checks of creations: where, beside what, how many at once, and how soon after a refusal.

use super::{
    KnownPod, KnownSet, Oracle,
    placement::Fit,
    work::{BURST, Creating, Target, check_pause},
};
use crate::{
    objects::Pod,
    request::{Request, Violation, ensure},
    value::Text,
};

impl Oracle {
    /// Checks a creation and takes it in. Returns whether it is a surge.
    pub(super) fn create(&mut self, request: &Request) -> Result<bool, Violation> {
        let Request::CreatePod {
            set: key,
            set_uid,
            node,
            name,
            ..
        } = request
        else {
            return Ok(false);
        };
        let (set, work) = self.set_of(request)?;
        ensure!(
            set.set.uid == *set_uid,
            "no set",
            "creates {name} for an earlier set named {key}"
        );
        let target = Target::Create(node.clone());
        check_pause(work, &target, self.now)?;
        let open = work.creating.get(node);
        let surges = match open {
            Some(open) => {
                ensure!(
                    open.name == *name && !open.sent,
                    "create: asked twice",
                    "asks for {name} on {node}, while the fate of {} is open",
                    open.name
                );
                false
            }
            None => {
                let under_way = work.creations();
                ensure!(
                    under_way < work.window.most.min(BURST),
                    "slow start",
                    "creates {name} while {under_way} creations are under way, {} may be",
                    work.window.most
                );
                self.check_body(set, request)?;
                self.check_place(set, node, name)?
            }
        };
        let creating = Creating {
            name: name.clone(),
            sent: true,
            unclear_until: open.and_then(|open| open.unclear_until),
        };
        if let Some(work) = self.work.get_mut(set_uid) {
            work.creating.insert(node.clone(), creating);
        }
        Ok(surges)
    }

    /// The pod is made from the set's template, for the node, with the hash of the current
    /// revision.
    fn check_body(&self, set: &KnownSet, request: &Request) -> Result<(), Violation> {
        let Request::CreatePod {
            node,
            name,
            bind,
            body,
            ..
        } = request
        else {
            return Ok(());
        };
        let pod = Pod::read(body);
        let fixed = Text::from(crate::value::text(&set.set.template, "/spec/nodeName"));
        ensure!(
            pod.tag == set.set.tag
                && pod.key.name == *name
                && pod.key.namespace == set.set.key.namespace
                && pod.is_owned_by(&set.set.uid)
                && pod.target.as_ref() == Some(node)
                && pod.node.is_some() == (*bind || !fixed.is_empty())
                && pod.node.as_ref().is_none_or(|bound| bound == node),
            "create: wrong pod",
            "creates {name} on {node} from `{}`, not `{}`: {body}",
            pod.tag,
            set.set.tag
        );
        ensure!(
            self.is_updated(set, &pod),
            "create: wrong hash",
            "creates {name} with hash {:?}, current are {:?}",
            pod.hash(),
            self.known.current_hashes(&set.set)
        );
        Ok(())
    }

    /// The set should run on the node, and has no pod there (or one old pod, with surge).
    fn check_place(&self, set: &KnownSet, node: &Text, name: &Text) -> Result<bool, Violation> {
        let fit = self.known.fit(set, node);
        ensure!(
            fit == Some(Fit::Run),
            "create: misplaced",
            "creates {name} on {node}: {fit:?}"
        );
        let present: Vec<&KnownPod> = self
            .known
            .pods_on(set, node)
            .filter(|known| known.is_present())
            .collect();
        let names: Vec<&Text> = present.iter().map(|known| &known.pod.key.name).collect();
        if !set.set.is_surge() {
            ensure!(
                present.is_empty(),
                "create: two pods",
                "creates {name} on {node} beside {names:?}"
            );
            return Ok(false);
        }
        ensure!(
            present
                .iter()
                .all(|known| !known.delete_sent || known.pod.deleting),
            "create: unsettled",
            "creates {name} on {node}, where a deletion may fail: {names:?}"
        );
        let active: Vec<&&KnownPod> = present
            .iter()
            .filter(|known| known.is_active() && !known.pod.is_ended())
            .collect();
        let new = active.iter().any(|known| self.is_updated(set, &known.pod));
        ensure!(
            active.len() <= 1 && !new,
            "create: two pods",
            "creates {name} on {node} beside {names:?}"
        );
        Ok(active
            .iter()
            .any(|known| self.is_available(set, &known.pod)))
    }
}
