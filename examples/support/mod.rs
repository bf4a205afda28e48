//! What the programs that mutate files share: an allocator that counts, and one mutation watched.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{UnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The system's allocator, counting.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Three times in a row longer than this is a hang: on a busy machine anything can wait for once.
const LONGEST: Duration = Duration::from_secs(10);

/// The dearest of many mutations.
#[derive(Default)]
pub struct Costs {
    /// Wall time of the slowest.
    pub slowest: Duration,
    /// Bytes that one allocated at the most.
    pub largest: usize,
}

impl Costs {
    /// Reads one mutation; what `read` gives and the bytes that it allocated. `place` says which mutation it is.
    ///
    /// # Panics
    /// With `place`, where `read` panics or hangs.
    pub fn watch<T>(
        &mut self,
        read: impl Fn() -> T + UnwindSafe + Copy,
        place: &dyn Fn() -> String,
    ) -> (T, usize) {
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let began = Instant::now();
        let result = catch_unwind(read);
        let took = began.elapsed();
        let used = PEAK.load(Relaxed).saturating_sub(before);
        let Ok(result) = result else { panic!("{} panicked", place()) };
        let again = || {
            let began = Instant::now();
            read();
            began.elapsed()
        };
        let hangs = took > LONGEST && (0..2).all(|_| again() > LONGEST);
        assert!(!hangs, "{} takes {took:?}", place());
        self.slowest = self.slowest.max(took);
        self.largest = self.largest.max(used);
        (result, used)
    }
}
