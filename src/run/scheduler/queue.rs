//! The tasks that wait, and which of the jobs go on when a device's memory is full.

use std::collections::VecDeque;

/// A task that waits for its turn.
pub(super) struct Waiting {
    /// Which.
    pub index: usize,
    /// Whether it was tried here before.
    pub tried: bool,
    /// Whether another process held it at the last look.
    pub claimed: bool,
    /// Whether its last attempt filled a device's memory.
    pub is_out_of_memory: bool,
}

/// Tasks that wait, and the jobs that take them.
pub(super) struct Queue {
    pub waiting: VecDeque<Waiting>,
    /// Jobs that have not ended.
    pub jobs: usize,
}

impl Queue {
    /// So many tasks, none of them begun.
    pub fn new(tasks: usize, jobs: usize) -> Self {
        let new = |index| Waiting { index, tried: false, claimed: false, is_out_of_memory: false };
        Self { waiting: (0..tasks).map(new).collect(), jobs }
    }

    /// The next task and whether other processes hold all of them; with none, the job that asked ends.
    pub fn next(&mut self) -> (Option<Waiting>, bool) {
        let all_claimed = self.waiting.iter().all(|waiting| waiting.claimed);
        let next = self.waiting.pop_front();
        self.jobs -= usize::from(next.is_none());
        (next, all_claimed)
    }

    /// Puts a task back. Whether the job that tried it ends: there are too many for a device's memory, and others are left
    /// to do the task.
    pub fn put_back(&mut self, waiting: Waiting) -> bool {
        let ends = waiting.is_out_of_memory && self.jobs > 1;
        self.waiting.push_back(waiting);
        self.jobs -= usize::from(ends);
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each time a device's memory is full one job less goes on, down to one; no task is lost to a job that has ended.
    #[test]
    fn full_memory_takes_jobs_away() {
        let task = |index, is_out_of_memory| Waiting { index, tried: true, claimed: false, is_out_of_memory };
        let mut queue = Queue { waiting: VecDeque::from([task(0, false), task(1, false)]), jobs: 3 };
        let (Some(first), _) = queue.next() else { panic!("a task") };
        assert!(!queue.put_back(first), "other failures leave the jobs alone");
        assert!(queue.put_back(task(2, true)) && queue.jobs == 2);
        assert!(queue.put_back(task(3, true)) && queue.jobs == 1);
        assert!(!queue.put_back(task(4, true)) && queue.jobs == 1, "the last one goes on");
        let left: Vec<usize> = std::iter::from_fn(|| queue.next().0).map(|waiting| waiting.index).collect();
        assert_eq!(left, [1, 0, 2, 3, 4]);
        assert_eq!(queue.jobs, 0);
    }
}
