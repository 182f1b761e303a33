// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/worker.hpp"

#include <stdio_ext.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <errand/detail/process_job.hpp>
#include <new>
#include <optional>
#include <string>

#include "base/check.hpp"
#include "base/futex.hpp"
#include "process/exceptions.hpp"
#include "process/worker_end.hpp"
#include "task/thread_state.hpp"

namespace errand::detail {

namespace {

struct call_in_worker : process_call {
  worker_end& end;
  bool replied = false;
};

function_place unpacked(std::uint64_t word) noexcept { return {module_of(word), offset_of(word)}; }

// Of a fork that the job has made, only its parent may answer: the child does not have the rings.
void require_worker(std::uint32_t generation) noexcept {
  if (process_generation != generation)
    fatal("a function in a worker process returned in the child of a fork that it made; there it may only exec or _exit");
}

std::byte* make_room(process_call& call, std::size_t bytes) {
  auto& self = static_cast<call_in_worker&>(call);
  require_worker(self.end.generation());
  self.replied = true;
  return self.end.reply_room(bytes);
}

void begin_element(process_call& call) noexcept { static_cast<call_in_worker&>(call).end.tell_time(); }

// Of the exception that is being handled.
bool no_memory_left() noexcept {
  try {
    throw;
  } catch (std::bad_alloc const&) {
    return true;
  } catch (...) {
    return false;
  }
}

reply_kind run(worker_end& end, worker_world const& world, worker_birth const& birth, request_header const& request,
               piece_list& pieces, bool& worn_out) {
  module_list const& modules = *world.modules;
  if (birth.tells_time) end.tell_time();
  try {
    call_in_worker call{{end.arguments(request), modules.at(unpacked(request.target)), &make_room,
                         birth.tells_time ? &begin_element : nullptr, {}},
                        end};
    auto const entry = reinterpret_cast<process_entry>(modules.at(unpacked(request.entry)));
    entry(call);
    if (!call.replied) end.reply_room(0);
    pieces = std::move(call.reply_pieces);
    return reply_kind::value;
  } catch (...) {
    require_worker(end.generation());
    // What the job has leaked would be the next one's error.
    if (birth.memory != 0 && no_memory_left()) worn_out = true;
    std::string const text = describe_current_exception();
    std::memcpy(end.reply_room(text.size()), text.data(), text.size());
    return reply_kind::exception;
  }
}

// The kernel, when it has no memory left, is to take a worker before the program.
void offer_to_oom_killer() noexcept {
  std::FILE* const file = std::fopen("/proc/self/oom_score_adj", "r+");
  if (file == nullptr) return;  // no /proc: it decides by size alone
  int points = 0;
  if (std::fscanf(file, "%d", &points) == 1) {
    std::rewind(file);
    std::fprintf(file, "%d", std::min(1000, points + 500));
  }
  std::fclose(file);
}

// Private writable memory of this process, or 0 where there is no /proc.
std::uint64_t data_bytes() noexcept {
  std::FILE* const file = std::fopen("/proc/self/status", "r");
  if (file == nullptr) return 0;
  char line[128];
  unsigned long long kibibytes = 0;
  while (std::fgets(line, sizeof line, file) != nullptr && std::sscanf(line, "VmData: %llu kB", &kibibytes) != 1) {
  }
  std::fclose(file);
  return kibibytes * 1024;
}

// Resident memory of this process's own, or 0 where there is no /proc. About 15 µs.
std::uint64_t resident_bytes() noexcept {
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  unsigned long long resident = 0;
  unsigned long long shared = 0;
  int const found = std::fscanf(file, "%*u %llu %llu", &resident, &shared);
  std::fclose(file);
  return found == 2 && resident > shared ? (resident - shared) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

// Looks now and then whether this process has grown beyond its limit, since its birth.
class growth {
 public:
  explicit growth(std::uint64_t largest) noexcept : largest_(largest) {
    if (largest_ == 0) return;
    born_with_ = resident_bytes();
    looked_at_ = now();
  }
  [[nodiscard]] bool too_large() noexcept {
    constexpr std::int64_t interval = 10'000'000;  // nanoseconds: a look costs a thousandth of that
    if (largest_ == 0 || now() - looked_at_ < interval) return false;
    std::uint64_t const bytes = resident_bytes();
    looked_at_ = now();
    return bytes > born_with_ && bytes - born_with_ > largest_;
  }

 private:
  std::uint64_t largest_;
  std::uint64_t born_with_ = 0;
  std::int64_t looked_at_ = 0;
};

// RLIMIT_DATA, as RLIMIT_AS would count the rings, the program's text and a sanitizer's shadow.
void limit_memory(std::uint64_t bytes) noexcept {
  if (bytes == 0) return;
  rlimit limit{};
  ::getrlimit(RLIMIT_DATA, &limit);
  std::uint64_t const born_with = data_bytes();
  rlim_t const wanted = bytes < RLIM_INFINITY - born_with ? born_with + bytes : RLIM_INFINITY;
  limit.rlim_cur = limit.rlim_max = std::min(wanted, limit.rlim_max);
  ::setrlimit(RLIMIT_DATA, &limit);  // downwards: cannot fail
}

}  // namespace

void worker_main(worker_world const& world, worker_birth const& birth, pid_t zygote) noexcept {
  this_thread() = {};  // the zygote may have been forked inside a task that ran in place
  std::optional<worker_end> end;
  try {
    end.emplace(world.shared_fd, birth.slot, zygote);
  } catch (...) {
    // No memory for the rings. The parent sees a worker that died before its first job.
    ::_exit(EXIT_FAILURE);
  }
  offer_to_oom_killer();
  limit_memory(birth.memory);
  if (birth.memory != 0) end->limit_shared_memory(birth.memory);
  growth grown(birth.largest);
  for (bool worn_out = false;;) {
    request_header const& request = end->next();
    piece_list pieces;  // of shared memory, that the result takes along
    reply_kind const kind = run(*end, world, birth, request, pieces, worn_out);
    if (grown.too_large()) worn_out = true;
    if (worn_out) end->wear_out();
    // Workers end by being killed, which would lose what a job has printed.
    if (::__fpending(stdout) != 0) std::fflush(stdout);
    end->publish(request, kind, pieces);
    if (worn_out) end->rest();
  }
}

}  // namespace errand::detail
