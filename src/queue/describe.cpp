// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Queues as their handles see them: making, names, counters, values, messages.
#include "queue/queue_core.hpp"
#include "sched/pool_core.hpp"
#include "task/thread_state.hpp"
#include "task/unobserved.hpp"

#include <errand/queue.hpp>

#include <memory>
#include <mutex>
#include <stdexcept>

namespace errand {

namespace detail {

static constexpr std::size_t most_targets = 100;

static queue_core& make_pools_queue(queue_shape const& shape);

queue_core& make_queue(queue_shape const& shape) {
  try {
    return make_pools_queue(shape);
  } catch (...) {
    if (shape.driver != nullptr) shape.driver->gone();
    throw;
  }
}

queue_core& make_pools_queue(queue_shape const& shape) {
  place_core* const on = place_access::core(shape.on);
  if (on == nullptr || on->what() == place_core::kind::blocking)
    throw std::invalid_argument{std::string{"errand: the target of a queue is a pool or a queue, and not "} +
                                (on == nullptr ? "inplace" : "blocking")};
  if (!on->is_queue()) return *new queue_core{shape, nullptr, as_pool(*on)};
  auto& target = static_cast<queue_core&>(on->gate());
  target.require_own("the making of an errand queue");
  // What goes from a queue to its target calls itself there, also on a task's stack.
  std::size_t depth = 0;
  for (queue_core const* one = &target; one != nullptr; one = one->target_queue()) ++depth;
  if (depth > most_targets)
    throw std::invalid_argument{"errand: the " + target.described() + " is no target for a queue: it stands on " +
                                std::to_string(most_targets) + " others, and no more are allowed"};
  return *new queue_core{shape, &target, target.pool()};
}

void add_handle(queue_core& q) noexcept { q.add_reference(); }
void drop_handle(queue_core& q) noexcept { q.drop_reference(); }
place_core& place_of(queue_core& q, lane l) noexcept { return q.lane_place(l); }
std::string_view name_of(queue_core const& q) noexcept { return q.name(); }
bool is_current(queue_core const& q) noexcept { return q.is_current(); }
void suspend(queue_core& q) noexcept { q.suspend(); }
void resume(queue_core& q) noexcept { q.resume(); }

void queue_core::require_own(char const* operation) const {
  if (!inherited()) return;
  throw std::logic_error{std::string{operation} + ": the " + described() +
                         " was made before this process was forked: it belongs to the parent process"};
}

bool queue_core::is_current() const noexcept {
  for (stack_mark const* m = this_thread().mark; m != nullptr; m = m->outer)
    for (queue_gate const* q = m->queue; q != nullptr; q = q->target())
      if (q == this) return true;
  return false;
}

static std::string described_line(std::source_location from) {
  return from.line() != 0 ? std::string{from.file_name()} + ":" + std::to_string(from.line()) : std::string{};
}

std::string queue_core::described() const {
  std::string text = serial() ? "serial queue" : "concurrent queue";
  if (!name_.empty()) text.append(" \"").append(name_).append("\"");
  if (auto const line = described_line(from_); !line.empty()) text.append(" (").append(line).append(")");
  return text;
}

static std::string where_the_caller_is() {
  for (stack_mark const* m = this_thread().mark; m != nullptr; m = m->outer)
    if (m->queue != nullptr) return "in the " + m->queue->described();
  record const* const task = this_thread().current;
  return task != nullptr ? "in " + describe(*task) + ", which is in no queue" : "in no queue";
}

void assert_current(queue_core const& q, std::source_location from) {
  if (q.is_current()) return;
  throw std::logic_error{"errand::queue::assert_current() at " + described_line(from) + ": this has to run in the " +
                         q.described() + ", but it runs " + where_the_caller_is()};
}

queue_statistics queue_core::statistics() const noexcept {
  // In this order: what is read later may have begun meanwhile, but not been asked for.
  auto const entered = entered_.load(std::memory_order_relaxed);  // sync() that had not to wait
  auto const submitted = lent_.load(std::memory_order_seq_cst) + others_.load(std::memory_order_seq_cst) + entered;  // (Q7)
  auto const begun = begun_.load(std::memory_order_seq_cst) + entered;                                               // (Q7)
  auto const c = control_.load(std::memory_order_relaxed);
  bool const is_held = (word_.load(std::memory_order_relaxed) & held) != 0;
  unsigned const running = serial() ? (is_held ? 1 : 0) : slots(c) + ((c & barrier) != 0 ? 1 : 0);
  return {.submitted = static_cast<std::uint64_t>(submitted),
          .begun = static_cast<std::uint64_t>(begun),
          .waiting = submitted > begun ? static_cast<std::uint64_t>(submitted - begun) : 0,
          .running = running,
          .suspended = suspensions(c)};
}

// ---- values ----------------------------------------------------------------------------------------------------------------

std::uint64_t new_local_key() noexcept {
  static constinit std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void* queue_core::own_local(std::uint64_t key) noexcept {
  std::lock_guard const held_lock{guard_};
  for (local const* l = locals_; l != nullptr; l = l->next)
    if (l->key == key) return l->value;
  return nullptr;
}

void queue_core::set_local(std::uint64_t key, void* value, void (*destroy_value)(void*) noexcept) {
  std::unique_ptr<void, void (*)(void*) noexcept> old{value, destroy_value};
  auto made = std::make_unique<local>(local{key, value, destroy_value, nullptr});
  static_cast<void>(old.release());
  std::lock_guard const held_lock{guard_};
  for (local* l = locals_; l != nullptr; l = l->next)
    if (l->key == key) {
      old.reset(std::exchange(l->value, value));
      break;
    }
  if (old != nullptr) return;  // which goes after the lock
  made->next = locals_;
  locals_ = made.release();
}

void queue_core::reset_local(std::uint64_t key) noexcept {
  local* found = nullptr;
  {
    std::lock_guard const held_lock{guard_};
    for (local** link = &locals_; *link != nullptr; link = &(*link)->next)
      if ((*link)->key == key) {
        found = *link;
        *link = found->next;
        break;
      }
  }
  if (found == nullptr) return;
  found->destroy(found->value);
  delete found;
}

void* local_of(queue_core const& q, std::uint64_t key) noexcept {
  for (auto* one = const_cast<queue_core*>(&q); one != nullptr; one = one->target_queue())
    if (void* const value = one->own_local(key); value != nullptr) return value;
  return nullptr;
}

void* local_here(std::uint64_t key) noexcept {
  for (stack_mark const* m = this_thread().mark; m != nullptr; m = m->outer)
    if (m->queue != nullptr)
      if (void* const value = local_of(static_cast<queue_core const&>(*m->queue), key); value != nullptr) return value;
  return nullptr;
}

void set_local(queue_core& q, std::uint64_t key, void* value, void (*destroy)(void*) noexcept) {
  try {
    q.require_own("errand::queue_local::set()");
  } catch (...) {
    destroy(value);
    throw;
  }
  q.set_local(key, value, destroy);
}
void reset_local(queue_core& q, std::uint64_t key) noexcept { q.reset_local(key); }

}  // namespace detail

queue_statistics queue::statistics() const noexcept { return core_->statistics(); }

std::string to_string(queue const& q) {
  auto& core = detail::queue_access::core(q);
  std::string text = core.described();
  if (auto const* const target = core.target_queue(); target != nullptr)
    text += " on the " + target->described();
  else
    text += &core.pool() == &detail::default_pool() ? std::string{" on threads"}
                                                    : " on the pool \"" + core.pool().setup().name + '"';
  auto const now = core.statistics();
  text += ": " + std::to_string(now.waiting) + " waiting, " + std::to_string(now.running) + " running";
  if (now.suspended != 0)
    text += ", suspended " + std::to_string(now.suspended) + (now.suspended == 1 ? " time" : " times");
  return text;
}

}  // namespace errand
