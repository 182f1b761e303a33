// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Items given to our queues: a million at once, held back and released, and loaded in the steady state.
#include "queue_items.hpp"

#include <errand/queue.hpp>

#include <optional>
#include <vector>

namespace microbench {

namespace {

constexpr bool kept = true;
constexpr bool detached = false;

// A serial or a concurrent queue on a pool of its own; the items' futures kept and each waited for, or detached and the last
// waited for.
template <class Queue, bool Kept>
class our_items {
 public:
  explicit our_items(unsigned workers) : pool_{workers}, queue_{"items", pool_} {}

  template <class F>
  auto on_main(F f) {
    return f();
  }
  template <class F>
  void inside(F f) {
    errand::async(pool_, f).get();
  }
  void prepare(std::size_t count) {
    turns_.reset();
    if constexpr (Kept) futures_.reserve(count);
  }
  void push() {
    if constexpr (Kept)
      futures_.push_back(start());
    else
      start().detach();
  }
  void wait(roll_call const&, std::size_t) {
    for (auto& f : futures_) f.get();
    futures_.clear();
    if constexpr (!Kept) wait_for_all_before();
  }
  void verify(std::size_t count) const {
    if constexpr (serial) turns_.verify(count);
  }
  void hold() { held_.emplace(queue_.suspend()); }
  void release() { held_.reset(); }

 private:
  static constexpr bool serial = std::is_same_v<Queue, errand::serial_queue>;

  errand::future<void> start() {
    if constexpr (serial) {
      return errand::async(queue_, [this] {
        visit();
        turns_.enter();
      });
    } else {
      return errand::async(queue_, empty_task);
    }
  }
  void wait_for_all_before() {
    if constexpr (serial)
      errand::async(queue_, [] {}).get();
    else
      errand::async_barrier(queue_, [] {}).get();
  }

  errand::pool pool_;
  Queue queue_;
  one_at_a_time turns_{};
  std::vector<errand::future<void>> futures_{};
  std::optional<errand::queue_suspension> held_{};
};

using serial_kept = our_items<errand::serial_queue, kept>;
using serial_detached = our_items<errand::serial_queue, detached>;
using concurrent_kept = our_items<errand::concurrent_queue, kept>;
using concurrent_detached = our_items<errand::concurrent_queue, detached>;

constexpr auto a_serial = "errand, serial queue";
constexpr auto a_serial_detached = "errand, serial queue, detached";
constexpr auto a_concurrent = "errand, concurrent queue";
constexpr auto a_concurrent_detached = "errand, concurrent queue, detached";

add const main_serial{"queue-from-main", role::ours, a_serial, &items_from_main<serial_kept>, place::own_process};
add const main_serial_detached{"queue-from-main", role::ours, a_serial_detached, &items_from_main<serial_detached>,
                               place::own_process};
add const main_concurrent{"queue-from-main", role::ours, a_concurrent, &items_from_main<concurrent_kept>, place::own_process};
add const main_concurrent_detached{"queue-from-main", role::ours, a_concurrent_detached,
                                   &items_from_main<concurrent_detached>, place::own_process};

add const inside_serial{"queue-from-inside", role::ours, a_serial, &items_from_inside<serial_kept>, place::own_process};
add const inside_serial_detached{"queue-from-inside", role::ours, a_serial_detached, &items_from_inside<serial_detached>,
                                 place::own_process};
add const inside_concurrent{"queue-from-inside", role::ours, a_concurrent, &items_from_inside<concurrent_kept>,
                            place::own_process};
add const inside_concurrent_detached{"queue-from-inside", role::ours, a_concurrent_detached,
                                     &items_from_inside<concurrent_detached>, place::own_process};

add const apart{"queue-apart", role::ours, a_serial, &items_apart<serial_kept>, place::own_process};
add const apart_detached{"queue-apart", role::ours, a_serial_detached, &items_apart<serial_detached>, place::own_process};

add const loaded{"queue-loaded", role::ours, a_serial, &items_loaded<serial_kept>};
add const loaded_detached{"queue-loaded", role::ours, a_serial_detached, &items_loaded<serial_detached>};

}  // namespace

}  // namespace microbench
