// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What workers write to their stderr: a pipe for each, from which the zygote passes the bytes on to the program's stderr
// as they come, and of which it remembers the end, for the report of a death. It never waits for the program's stderr:
// while that takes nothing, nothing is read, and a worker waits in its write as it would have without us.
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/descriptor.hpp"

namespace errand::detail {

class stderr_relay {
 public:
  // How much is remembered of each worker: a sanitizer's report with its stacks.
  static constexpr std::size_t tail_bytes = 8192;

  // To the stderr that this process has now; if it has none, nowhere.
  stderr_relay() noexcept;

  // Makes a worker's pipe and returns its end; none if the kernel refuses: then the worker writes to the program's itself.
  descriptor open(std::uint64_t serial) noexcept;
  // It could not be forked.
  void forget(std::uint64_t serial) noexcept;
  // All is another process's, which has forked this one.
  void forget_all() noexcept;
  // It is dead: takes in all that it has left in its pipe, and returns the last of it. Who else writes there (what it
  // started and put into a group of its own) is read on until the end.
  std::string last_words(std::uint64_t serial) noexcept;

  // For poll(): adds what is to be watched; then does what can be done at once. Throws std::bad_alloc.
  void watch(std::vector<pollfd>& watched) const;
  void work() noexcept;

  // All workers are dead: passes on what there is. Gives up when nobody has taken a byte for a second.
  void finish() noexcept;

 private:
  // The last bytes that were put in.
  class tail {
   public:
    void put(char const* bytes, std::size_t count) noexcept;
    [[nodiscard]] std::string text() const;

   private:
    std::size_t total_ = 0;
    char bytes_[tail_bytes];
  };
  struct source {
    descriptor pipe;       // none: its end has come
    std::uint64_t serial;  // 0: the worker is dead
    std::unique_ptr<tail> kept;
  };

  enum class got : unsigned char { bytes, nothing_now, end };
  got take_in(source& from, std::size_t most) noexcept;
  void take_what_is_there(source& from) noexcept;
  bool pass_on() noexcept;
  void sweep() noexcept;
  source* of(std::uint64_t serial) noexcept;

  descriptor target_;             // the program's stderr; none: it had none
  bool is_socket_ = false;
  bool may_block_ = true;         // a write to it, even after poll() has promised room
  std::vector<source> sources_;
  std::size_t next_ = 0;          // whose turn it is
  std::string waiting_;           // taken in, and not yet passed on
  std::size_t dropped_ = 0;       // bytes of the dead that were too many to keep
};

}  // namespace errand::detail
