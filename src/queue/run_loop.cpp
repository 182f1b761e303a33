// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "base/check.hpp"
#include "base/cpu_count.hpp"
#include "base/fork.hpp"
#include "queue/loop_core.hpp"
#include "sched/exit.hpp"
#include "task/detached.hpp"
#include "task/stop.hpp"
#include "task/references.hpp"
#include "task/thread_state.hpp"

#include <mutex>
#include <stdexcept>
#include <sys/eventfd.h>
#include <system_error>

namespace errand {

namespace detail {

// ---- threads -------------------------------------------------------------------------------------------------------------

loop_thread::loop_thread(bool is_main) : served_thread{is_main ? "the main thread" : "the thread of a run loop"} {}

loop_thread& loop_thread::of_main() {
  if (auto* const there = served_thread::main(); there != nullptr) return static_cast<loop_thread&>(*there);
  auto made = std::make_unique<loop_thread>(true);
  if (served_thread::set_main(*made)) return *made.release();
  return of_main();
}

// All that were ever made: for who looks for leaks.
static constinit std::atomic<loop_thread*> all_threads{nullptr};

loop_thread& loop_thread::of_this_thread() {
  if (served_thread::is_main_thread()) return of_main();
  thread_state& t = this_thread();
  // It stays when the thread has gone: somebody may be on the way to it with the address.
  if (t.serves == nullptr) {
    auto* const made = new loop_thread{false};
    made->next_ = all_threads.load(std::memory_order_relaxed);
    while (!all_threads.compare_exchange_weak(made->next_, made, std::memory_order_relaxed)) {
    }
    t.serves = made;
  }
  return static_cast<loop_thread&>(*t.serves);
}

void loop_thread::add(loop_core& l) noexcept {
  std::lock_guard const held{loops_guard_};
  l.next_of_thread_ = std::exchange(loops_, &l);
}

void loop_thread::remove(loop_core& l) noexcept {
  std::lock_guard const held{loops_guard_};
  loop_core** link = &loops_;
  while (*link != nullptr && *link != &l) link = &(*link)->next_of_thread_;
  if (*link != nullptr) *link = l.next_of_thread_;
}

bool loop_thread::run_if_item(record& r) noexcept {
  queue_gate const* const in = queue_of(r);
  if (in == nullptr) return false;
  queue_core* found = nullptr;
  {
    std::lock_guard const held{loops_guard_};
    for (loop_core* l = loops_; l != nullptr; l = l->next_of_thread_)
      if (in == l->queue_) found = l->queue_;
  }
  return found != nullptr && found->run_this(r);
}

bool loop_thread::serves(queue_gate const* q) noexcept {
  std::lock_guard const held{loops_guard_};
  for (loop_core* l = loops_; l != nullptr && q != nullptr; l = l->next_of_thread_)
    if (q == l->queue_) return true;
  return false;
}

void loop_thread::show_as_holder(record* waiting) noexcept {
  std::lock_guard const held{loops_guard_};
  for (loop_core* l = loops_; l != nullptr; l = l->next_of_thread_)
    l->queue_->holder.store(waiting, std::memory_order_seq_cst);  // (X2)
}

// ---- the loop ------------------------------------------------------------------------------------------------------------

bool loop_core::is_here() const noexcept {
  if (closed_.load(std::memory_order_relaxed)) return true;  // from now on it is a queue like others
  thread_state& t = this_thread();
  served_thread const* const of_this = served_thread::of(t);
  return of_this != nullptr && of_this == thread_.load(std::memory_order_relaxed);
}

void loop_core::require_thread(char const* operation) {
  if (queue_->inherited()) queue_->require_own(operation);
  if (this_thread().as_worker != nullptr)
    throw std::logic_error{std::string{operation} + " of the " + queue_->described() +
                           ": a thread serves a run loop, and not a task, which may go on on another one"};
  if (is_here()) return;
  if (thread_.load(std::memory_order_relaxed) != nullptr)
    throw std::logic_error{std::string{operation} + " of the " + queue_->described() + ": it belongs to another thread"};
  loop_thread& mine = loop_thread::of_this_thread();
  loop_thread* nobody = nullptr;
  if (!thread_.compare_exchange_strong(nobody, &mine, std::memory_order_acq_rel))  // (LT1) with itself: one thread gets it
    return require_thread(operation);
  mine.add(*this);
}

// Something has been brought. By whoever has brought it.
void loop_core::ring() noexcept {
  // (RL1) acq_rel: what was brought before; pairs with the exchange in sleep().
  if (bell_.exchange(awake, std::memory_order_acq_rel) == asleep) futex_wake(&bell_);
}

bool loop_core::scheduled() noexcept {
  ringing_.fetch_add(1, std::memory_order_seq_cst);  // (RL3) before the look; pairs with close()
  bool const open = !closed_.load(std::memory_order_seq_cst);  // (RL3)
  if (open) {
    entry_given_.store(true, std::memory_order_seq_cst);  // (RL2)
    ring();
    // (RL2) seq_cst: after the entry was said to be there; descriptor() makes it and then looks.
    if (int const fd = descriptor_.load(std::memory_order_seq_cst); fd >= 0) ::eventfd_write(fd, 1);
    // Not only a push may bring an entry, but the end of a suspension.
    if (auto* const thread = thread_.load(std::memory_order_acquire); thread != nullptr) thread->look_again();  // (LT1)
    if (hook_due_.load(std::memory_order_seq_cst)) call_hook();  // (RL2)
    if (of_main_thread_) tell_who_drains();
  }
  ringing_.fetch_sub(1, std::memory_order_release);  // (RL3) the last touch
  return open;
}

void loop_core::gone() noexcept {
  while (ringing_.load(std::memory_order_seq_cst) != 0) cpu_relax();  // (RL3)
  delete this;
}

void loop_core::push_begins() noexcept { ringing_.fetch_add(1, std::memory_order_seq_cst); }  // (RL3)

void loop_core::push_is_over() noexcept {
  if (auto* const thread = thread_.load(std::memory_order_acquire); thread != nullptr) thread->look_again();  // (LT1)
  ringing_.fetch_sub(1, std::memory_order_release);  // (RL3) the last touch
}

void loop_core::call_hook() noexcept {
  if (!hook_due_.exchange(false, std::memory_order_acq_rel)) return;  // (RL4) one of several that bring something
  std::shared_ptr<loop_hook> hook;
  {
    std::lock_guard const held{guard_};
    hook = hook_;
  }
  if (hook != nullptr) hook->call();
}

void loop_core::stop() noexcept {
  stopped_.store(true, std::memory_order_seq_cst);  // (RL2)
  ring();
}

int loop_core::descriptor() {
  int there = descriptor_.load(std::memory_order_seq_cst);  // (RL2)
  if (there >= 0) return there;
  detail::descriptor made{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!made) throw std::system_error{errno, std::generic_category(), "errand::run_loop::descriptor(): eventfd"};
  if (!descriptor_.compare_exchange_strong(there, made.get(), std::memory_order_seq_cst)) return there;  // (RL2)
  if (entry_given_.load(std::memory_order_seq_cst)) ::eventfd_write(made.get(), 1);                     // (RL2)
  return made.release();
}

void loop_core::set_hook(std::unique_ptr<loop_hook> hook) {
  std::shared_ptr<loop_hook> now{std::move(hook)};
  bool const set = now != nullptr;
  {
    std::lock_guard const held{guard_};
    hook_.swap(now);
  }
  has_hook_.store(set, std::memory_order_relaxed);
  hook_due_.store(set, std::memory_order_seq_cst);                       // (RL2)
  if (set && entry_given_.load(std::memory_order_seq_cst)) call_hook();  // (RL2)
}

std::size_t loop_core::serve(bool present_only, bool (*enough)(void const* of) noexcept, void const* of) noexcept {
  // Descriptor and hook first, then the entry: who brings one later finds them ready.
  if (int const fd = descriptor_.load(std::memory_order_relaxed); fd >= 0) {
    eventfd_t count = 0;
    ::eventfd_read(fd, &count);
  }
  if (has_hook_.load(std::memory_order_relaxed)) hook_due_.store(true, std::memory_order_seq_cst);  // (RL2)
  if (!entry_given_.exchange(false, std::memory_order_seq_cst)) return 0;                          // (RL2)
  return queue_->serve(present_only, enough, of);
}

// One run...() or poll(). In an item of this very queue it gives up the hold meanwhile.
class loop_core::service {
 public:
  service(loop_core& l, char const* operation) : loop_{l} {
    l.require_thread(operation);
    nested_ = l.queue_->is_current();
    if (nested_) l.queue_->leave_for_a_while();
  }
  ~service() {
    if (nested_) loop_.queue_->come_back();
  }
  service(service const&) = delete;
  service& operator=(service const&) = delete;

 private:
  loop_core& loop_;
  bool nested_;
};

namespace {

// Before it sleeps, the thread looks on for about as long as falling asleep and being woken would cost; not where there is one
// processor, on which nobody else could bring anything meanwhile.
int spins_before_sleep() noexcept {
  static std::atomic<int> known{-1};
  int spins = known.load(std::memory_order_relaxed);
  if (spins < 0) known.store(spins = usable_processors() > 1 ? 400 : 0, std::memory_order_relaxed);
  return spins;
}

}  // namespace

// Until something is there, or `enough`, or the deadline: then false.
template <class Enough>
bool loop_core::sleep(std::int64_t deadline, Enough enough) noexcept {
  auto const over = [&] { return there_is_something() || enough(); };
  for (int i = spins_before_sleep(); i > 0; --i) {
    if (over()) return true;
    cpu_relax();
  }
  for (;;) {
    // (RL1) Who brings something from now on finds us asleep; what was brought before we see.
    bell_.exchange(asleep, std::memory_order_acq_rel);
    bool in_time = true;
    if (!over()) in_time = futex_wait(bell_, asleep, deadline);
    bell_.exchange(awake, std::memory_order_acq_rel);  // (RL1) an exchange: what was brought before is seen by the next look
    if (over()) return true;
    if (!in_time) return false;
  }
}

void loop_core::run_until_stopped() {
  service const under_way{*this, "errand::run_loop::run()"};
  auto const is_stopped = [this] { return stopped_.load(std::memory_order_relaxed); };
  auto const enough = [](void const* of) noexcept {
    return static_cast<std::atomic<bool> const*>(of)->load(std::memory_order_relaxed);
  };
  while (!stopped_.exchange(false, std::memory_order_acq_rel)) {  // (RL1)
    if (serve(false, enough, &stopped_) == 0) static_cast<void>(sleep(no_deadline, is_stopped));
  }
}

bool loop_core::run_until(std::int64_t deadline) {
  service const under_way{*this, "errand::run_loop::run_for()"};
  auto const is_stopped = [this] { return stopped_.load(std::memory_order_relaxed); };
  for (;;) {
    if (stopped_.exchange(false, std::memory_order_acq_rel)) return false;  // (RL1)
    if (now() >= deadline) return true;
    struct limits {
      std::atomic<bool> const& stopped;
      std::int64_t deadline;
    } const both{stopped_, deadline};
    auto const enough = [](void const* of) noexcept {
      auto const& l = *static_cast<limits const*>(of);
      return l.stopped.load(std::memory_order_relaxed) || (l.deadline != no_deadline && now() >= l.deadline);
    };
    if (serve(false, enough, &both) == 0) static_cast<void>(sleep(deadline, is_stopped));
  }
}

std::size_t loop_core::poll() {
  service const under_way{*this, "errand::run_loop::poll()"};
  return serve(true, [](void const*) noexcept { return false; }, nullptr);
}

// Rings when a task has ended.
struct end_of_task : waiter {
  explicit end_of_task(loop_core& l) noexcept : loop{&l} {
    wake = [](waiter* w) noexcept {
      auto& self = static_cast<end_of_task&>(*w);
      loop_core& to = *self.loop;
      bool const sleeps = to.bell_.exchange(loop_core::awake, std::memory_order_acq_rel) == loop_core::asleep;  // (RL1)
      auto* const word = &to.bell_;
      self.told.store(true, std::memory_order_release);  // (RL5) the last touch, but for an address
      if (sleeps) futex_wake(word);
    };
  }
  loop_core* loop;
  std::atomic<bool> told{false};
};

void loop_core::run_until_done(record& r) {
  service const under_way{*this, "errand::run_loop::run_until()"};
  if (runs_on_stack_of(this_thread().current, r))
    throw deadlock{"errand::run_loop::run_until(): a task waits for itself, in the " + queue_->described()};
  end_of_task end{*this};
  if (!hook(r, end)) return;
  while (!r.done()) {
    auto const enough = [](void const* of) noexcept { return static_cast<record const*>(of)->done(); };
    if (serve(false, enough, &r) == 0) static_cast<void>(sleep(no_deadline, [&r] { return r.done(); }));
  }
  while (!end.told.load(std::memory_order_acquire)) cpu_relax();  // (RL5)
}

void loop_core::attach(queue_core& q) noexcept {
  queue_ = &q;
  if (auto* const thread = thread_.load(std::memory_order_relaxed); thread != nullptr) thread->add(*this);
}

void loop_core::close() noexcept {
  if (queue_->inherited()) return;
  bool const here = thread_.load(std::memory_order_relaxed) == nullptr || is_here();
  if (here && this_thread().as_worker == nullptr) {
    try {
      while (poll() != 0) {
      }
    } catch (std::exception const& e) {
      say(std::string{"a run loop's items were not run at its end: "} + e.what());
    }
  }
  closed_.store(true, std::memory_order_seq_cst);                                    // (RL3)
  while (ringing_.load(std::memory_order_seq_cst) != 0) cpu_relax();  // (RL3)
  if (auto* const thread = thread_.load(std::memory_order_relaxed); thread != nullptr) thread->remove(*this);
  if (int const fd = descriptor_.exchange(-1, std::memory_order_relaxed); fd >= 0) ::close(fd);
  set_hook(nullptr);
  // What has come since is the pool's.
  if (entry_given_.exchange(false, std::memory_order_acq_rel)) queue_->hand_to_pool();  // (RL2)
}

// ---- as the header sees it -----------------------------------------------------------------------------------------------

loop_core& make_loop(bool of_main_thread) {
  loop_thread* const main = of_main_thread ? &loop_thread::of_main() : nullptr;
  auto* const made = new loop_core{main};
  return *made;
}
void close_loop(loop_core& l) noexcept { l.close(); }
void run_loop_until_stopped(loop_core& l) { l.run_until_stopped(); }
void run_loop_until_done(loop_core& l, record& r) { l.run_until_done(r); }
bool run_loop_until(loop_core& l, std::int64_t deadline) { return l.run_until(deadline); }
std::size_t poll_loop(loop_core& l) { return l.poll(); }
void stop_loop(loop_core& l) noexcept { l.stop(); }
int descriptor_of_loop(loop_core& l) { return l.descriptor(); }
void set_loop_hook(loop_core& l, loop_hook* hook) { l.set_hook(std::unique_ptr<loop_hook>{hook}); }
queue_driver* driver_of(loop_core& l) noexcept { return &l; }

// ---- the main thread's ---------------------------------------------------------------------------------------------------

namespace {

constinit std::atomic<run_loop*> main_loop{nullptr};
constinit run_loop* parents_main_loop = nullptr;  // of the process that forked this one; keeps reachable what is there

[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept {
  if (auto* const left = main_loop.exchange(nullptr, std::memory_order_relaxed); left != nullptr) parents_main_loop = left;
}};

// After main has returned, while the program waits for what is detached: that may be items of the main thread.
void serve_at_exit() noexcept {
  auto* const loop = main_loop.load(std::memory_order_acquire);  // (ML1)
  if (loop == nullptr || !served_thread::is_main_thread() || this_thread().as_worker != nullptr) return;
  try {
    loop->poll();
  } catch (std::exception const& e) {
    say(std::string{"the items of the main thread were not run at the end of the program: "} + e.what());
  }
}

}  // namespace

void make_main_loop(run_loop* made) {
  serve_while_draining(&serve_at_exit);
  run_loop* there = nullptr;
  if (!main_loop.compare_exchange_strong(there, made, std::memory_order_acq_rel)) delete made;  // (ML1) the loop as made
}

}  // namespace detail

run_loop& main_queue() {
  // Tempting: a static. Fails because a child that is forked meanwhile inherits its guard taken.
  for (;;) {
    if (auto* const there = detail::main_loop.load(std::memory_order_acquire); there != nullptr) return *there;  // (ML1)
    detail::make_main_loop(new run_loop{detail::make_loop(true), "main", std::source_location{}});
  }
}

}  // namespace errand
