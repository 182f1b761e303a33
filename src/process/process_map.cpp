// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// map(processes, …), for_each(processes, …): a few chunks are under way at any time, and each that ends takes the next elements, as many as will
// keep a worker busy for a millisecond. So long jobs are dealt one by one, and tiny ones by the thousand.
#include <algorithm>
#include <atomic>
#include <errand/detail/outside_task.hpp>
#include <errand/detail/process_map.hpp>
#include <errand/process.hpp>
#include <vector>

#include "base/futex.hpp"
#include "process/pool_state.hpp"

namespace errand::detail {

namespace {

constexpr std::int64_t chunk_time = 1'000'000;
// Times are guessed from the last chunk, which may have been small: do not trust them too far.
constexpr std::size_t growth = 8;

class map_record;

struct chunk : process_job {
  map_record* whole = nullptr;
  std::size_t first = 0;
  std::size_t size = 0;
  std::int64_t begun = 0;
};

class map_record final : public result_record<void>, public waiter {
 public:
  map_record(std::source_location from, process_map& map, process_pool_core* pool, std::size_t chunks)
      : result_record<void>{&act, from}, map_{map}, chunks_(chunks), under_way_{chunks} {
    wake = [](waiter* self) noexcept {
      auto& whole = static_cast<map_record&>(*self);
      whole.stop_all();
    };
    for (chunk& c : chunks_) {
      c.whole = this;
      c.pool = pool;
      c.entry = map_.entry;
      c.receives_unlocked = map_.receives_unlocked;
      c.file = from.file_name();
      c.line = from.line();
      c.receive = [](process_job& job, process_message const& reply) {
        auto& self = static_cast<chunk&>(job);
        self.whole->map_.receive(self.whole->map_, self.first, self.size, reply);
      };
      c.finished = [](process_job* job) noexcept {
        auto& self = static_cast<chunk&>(*job);
        self.whole->chunk_ended(self);
      };
    }
  }

  void begin() noexcept {
    begin_outside(*this, *this);
    for (std::size_t i = 0; i < chunks_.size(); ++i) go_on(chunks_[i], 1);
  }

 private:
  static bool act(record* base, record_verb verb) noexcept {
    auto* const self = static_cast<map_record*>(base);
    if (verb == record_verb::destroy) {
      self->~map_record();
      deallocate_record(self, sizeof(map_record));
    }
    return true;
  }

  // Sends the next elements, `wanted` of them if there are as many; or this chunk is at its end. Then it may free all.
  void go_on(chunk& c, std::size_t wanted) noexcept {
    std::size_t first = next_.load(std::memory_order_relaxed);
    std::size_t size = 0;
    do {
      size = std::min(wanted, map_.count - first);
      if (size == 0 || over_.load()) return leave();
    } while (!next_.compare_exchange_weak(first, first + size, std::memory_order_relaxed));

    c.first = first;
    c.size = size;
    c.calls = static_cast<unsigned>(size);
    c.begun = now();
    try {
      c.arguments.clear();
      map_.lay_out(map_, first, size, c);
      prepare_process_job(c);
    } catch (...) {
      return fail(std::current_exception());
    }
    // While it is being submitted it may end, and all others with it, and with them this record.
    under_way_.fetch_add(1, std::memory_order_relaxed);
    submit_process_job(c);
    // (M1) seq_cst, as in stop_all(): either it has seen this job, or we see that all is over.
    if (over_.load()) stop_process_job(c);
    leave();
  }

  void chunk_ended(chunk& c) noexcept {
    if (c.end != process_job_end::value) return fail(std::move(c.error));
    done_.fetch_add(c.size, std::memory_order_relaxed);  // published by (M2)
    std::int64_t const each = std::max<std::int64_t>(1, (now() - c.begun) / static_cast<std::int64_t>(c.size));
    std::size_t const fair = (map_.count - next_.load(std::memory_order_relaxed)) / (2 * chunks_.size()) + 1;
    auto const worthwhile = static_cast<std::size_t>(std::max<std::int64_t>(1, chunk_time / each));
    go_on(c, std::min({worthwhile, fair, c.size * growth}));
  }

  // The first failure counts. A chunk that was stopped has none.
  void fail(std::exception_ptr error) noexcept {
    if (error != nullptr && !failed_.exchange(true, std::memory_order_relaxed)) error_ = std::move(error);
    stop_all();
    leave();
  }

  void stop_all() noexcept {
    if (over_.exchange(true)) return;  // (M1)
    for (chunk& c : chunks_) stop_process_job(c);
  }

  void leave() noexcept {
    // (M2) acq_rel: the last one sees what all have done; pairs with every other (M2).
    if (under_way_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (done_.load(std::memory_order_relaxed) == map_.count)
      set_value_from([] {});  // also if a stop came, but too late
    else
      stopped_ = error_ == nullptr;
    end_outside(*this, *this);
  }

  process_map& map_;
  std::vector<chunk> chunks_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> under_way_;  // chunks not at their end, and calls of go_on()
  std::atomic<std::size_t> done_{0};    // elements whose results are there
  std::atomic<bool> failed_{false};     // error_ is somebody's
  std::atomic<bool> over_{false};       // failed or stopped: nothing more is sent
};

}  // namespace

future<void> start_process_map(process_map& map, process_pool_core* pool, std::source_location from) {
  start_dispatcher();
  std::size_t const workers = pool != nullptr ? pool->planned : process_worker_count();
  std::size_t const chunks = std::clamp<std::size_t>(map.count, 1, 2 * workers);
  auto* const r = make_record<map_record>(from, map, pool, chunks);
  auto handle = future_access::make<void>(r);
  r->begin();
  return handle;
}

}  // namespace errand::detail
