//! Runs tasks on the worker's thread, some at a time.

use async_task::{Builder, Runnable, Task};
use crossbeam_queue::SegQueue;
use sluice_tables::mailbox::Waker;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::ThreadId;

thread_local! {
    /// The standard library's own would count references with each look.
    static THREAD: ThreadId = std::thread::current().id();

    /// Tasks that were woken on the thread and can go on, by executor. Almost all are: what
    /// no other thread sees needs no atomic operations.
    static WOKEN: RefCell<Vec<VecDeque<Runnable>>> = const { RefCell::new(Vec::new()) };
}

/// Tasks of one thread. Those that can go on wait in a queue, in the order in which they
/// were woken; other threads may wake them, too.
pub(super) struct Executor {
    queue: Arc<Queue>,
    tasks: Rc<RefCell<Tasks>>,
    panics: Cell<u64>,
}

struct Queue {
    /// Tasks that other threads have woken.
    from_others: SegQueue<Runnable>,
    home: ThreadId,
    /// Where its own are among those of the thread; no other executor has it later.
    place: usize,
    waker: Waker,
}

impl Queue {
    fn push(&self, runnable: Runnable) {
        if THREAD.with(|thread| *thread) != self.home {
            self.from_others.push(runnable);
            return self.waker.wake();
        }
        let mut given = Some(runnable);
        self.with(|woken| {
            if let Some(runnable) = given.take() {
                woken.push_back(runnable);
            }
        });
        // The thread is at its end.
        if let Some(runnable) = given {
            self.from_others.push(runnable);
        }
    }

    /// What was woken on this thread, the executor's own.
    fn with<T>(&self, with: impl FnOnce(&mut VecDeque<Runnable>) -> T) -> Option<T> {
        WOKEN.try_with(|all| all.borrow_mut().get_mut(self.place).map(with)).ok().flatten()
    }

    fn is_empty(&self) -> bool {
        self.with(|woken| woken.is_empty()).unwrap_or(true) && self.from_others.is_empty()
    }
}

/// Handles of all tasks, so that none outlives the worker.
#[derive(Default)]
struct Tasks {
    places: Vec<Option<Task<()>>>,
    free: Vec<usize>,
}

impl Tasks {
    fn take_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        })
    }

    fn leave(&mut self, place: usize) {
        if let Some(task) = self.places[place].take() {
            task.detach();
        }
        self.free.push(place);
    }
}

/// Gives a place back when its task has ended, whatever way.
struct Place {
    tasks: Rc<RefCell<Tasks>>,
    place: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tasks.borrow_mut().leave(self.place);
    }
}

impl Executor {
    /// For tasks of this thread. `waker` wakes it when it sleeps.
    pub fn new(waker: Waker) -> Self {
        let home = THREAD.with(|thread| *thread);
        let place = WOKEN.with(|all| {
            let mut all = all.borrow_mut();
            all.push(VecDeque::new());
            all.len() - 1
        });
        let queue = Queue { from_others: SegQueue::new(), home, place, waker };
        Executor { queue: Arc::new(queue), tasks: Rc::default(), panics: Cell::new(0) }
    }

    /// Runs a task from the next [`Executor::run`] on.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let place = self.tasks.borrow_mut().take_place();
        let guard = Place { tasks: self.tasks.clone(), place };
        let future = async move {
            let _guard = guard;
            future.await;
        };
        let queue = self.queue.clone();
        let schedule = move |runnable| queue.push(runnable);
        let (runnable, task) = Builder::new().spawn_local(move |()| future, schedule);
        self.tasks.borrow_mut().places[place] = Some(task);
        runnable.schedule();
    }

    /// Whether a task can go on.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Tasks that have panicked; each of them has ended.
    pub fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// Lets tasks go on, until none can or `is_over` says that the time is up, which it is
    /// asked after each. Returns how many did.
    pub fn run(&self, mut is_over: impl FnMut() -> bool) -> usize {
        let mut ran = 0;
        while let Some(runnable) = self.next() {
            ran += 1;
            if catch_unwind(AssertUnwindSafe(|| runnable.run())).is_err() {
                self.panics.set(self.panics.get() + 1);
            }
            if is_over() {
                break;
            }
        }
        ran
    }

    /// The next task that can go on: those that other threads have woken take turns with
    /// the others, where there are any.
    fn next(&self) -> Option<Runnable> {
        let queue = &self.queue;
        let next = queue.with(|woken| {
            if !queue.from_others.is_empty()
                && let Some(runnable) = queue.from_others.pop()
            {
                woken.push_back(runnable);
            }
            woken.pop_front()
        });
        next.unwrap_or_else(|| queue.from_others.pop())
    }

    /// Ends all tasks.
    pub fn close(&self) {
        loop {
            let places = self.tasks.borrow().places.len();
            for place in 0..places {
                let task = self.tasks.borrow_mut().places[place].take();
                drop(task);
            }
            // What they hold is let go of here; it may begin others.
            self.run(|| false);
            if self.tasks.borrow().places.iter().all(Option::is_none) && !self.has_work() {
                return;
            }
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Without an end in order, what can go on is let go of while the thread is whole.
        let left = self.queue.with(std::mem::take);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tables::mailbox::mailbox;
    use std::future::{pending, poll_fn};
    use std::task::Poll;

    fn executor() -> Executor {
        let (_, worker) = mailbox().unwrap();
        Executor::new(worker.waker().clone())
    }

    #[test]
    fn tasks_take_turns_and_a_budget_is_kept() {
        let executor = executor();
        let order: Rc<RefCell<Vec<u32>>> = Rc::default();
        for number in 0..3 {
            let order = order.clone();
            let mut left = 2;
            executor.spawn(poll_fn(move |context| {
                order.borrow_mut().push(number);
                left -= 1;
                context.waker().wake_by_ref();
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            }));
        }
        let mut left = 4;
        let ran = executor.run(|| {
            left -= 1;
            left == 0
        });
        assert_eq!((ran, executor.has_work()), (4, true));
        executor.run(|| false);
        assert_eq!(*order.borrow(), [0, 1, 2, 0, 1, 2]);
        assert!(!executor.has_work());
    }

    #[test]
    fn a_panic_ends_its_task_alone_and_is_counted() {
        let executor = executor();
        let done = Rc::new(Cell::new(false));
        let told = done.clone();
        executor.spawn(async { panic!("a test panics on purpose") });
        executor.spawn(async move { told.set(true) });
        executor.run(|| false);
        assert!(done.get());
        assert_eq!(executor.panics(), 1);
        assert!(executor.tasks.borrow().places.iter().all(Option::is_none));
    }

    #[test]
    fn another_thread_wakes_a_task() {
        let executor = executor();
        let (tell, told) = std::sync::mpsc::channel();
        let flag = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = flag.clone();
        let done = Rc::new(Cell::new(false));
        let is_done = done.clone();
        executor.spawn(async move {
            poll_fn(move |context| {
                if seen.load(std::sync::atomic::Ordering::Acquire) {
                    return Poll::Ready(());
                }
                let _ = tell.send(context.waker().clone());
                Poll::Pending
            })
            .await;
            is_done.set(true);
        });
        executor.run(|| false);
        let waker = told.recv().unwrap();
        let thread = std::thread::spawn(move || {
            flag.store(true, std::sync::atomic::Ordering::Release);
            waker.wake();
        });
        thread.join().unwrap();
        assert!(executor.has_work());
        executor.run(|| false);
        assert!(done.get());
    }

    #[test]
    fn what_others_wake_takes_turns_with_a_task_that_wakes_itself() {
        let executor = executor();
        let (tell, told) = std::sync::mpsc::channel();
        let polls = Rc::new(Cell::new(0));
        let polled = polls.clone();
        executor.spawn(poll_fn(move |context| -> Poll<()> {
            polled.set(polled.get() + 1);
            let _ = tell.send(context.waker().clone());
            Poll::Pending
        }));
        executor.run(|| false);
        executor.spawn(poll_fn(|context| -> Poll<()> {
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        let waker = told.recv().unwrap();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        let mut left = 4;
        executor.run(|| {
            left -= 1;
            left == 0
        });
        assert_eq!(polls.get(), 2);
        executor.close();
    }

    #[test]
    fn the_end_lets_go_of_what_tasks_hold_and_of_what_they_begin_then() {
        struct Begins(Rc<Executor>, Rc<Cell<u32>>);
        impl Drop for Begins {
            fn drop(&mut self) {
                self.1.set(self.1.get() + 1);
                let gone = Gone(self.1.clone());
                self.0.spawn(async move {
                    let _gone = gone;
                    pending::<()>().await;
                });
            }
        }
        struct Gone(Rc<Cell<u32>>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 10);
            }
        }
        let executor = Rc::new(executor());
        let count = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let held = Begins(executor.clone(), count.clone());
            executor.spawn(async move {
                let _held = held;
                pending::<()>().await;
            });
        }
        executor.run(|| false);
        executor.close();
        assert_eq!(count.get(), 33);
    }
}
