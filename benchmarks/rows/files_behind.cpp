// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files written behind a computation, from strings that are given away: by write_file, each to a file of its own, and by
// file_writer.
#include "write_behind.hpp"

#include <errand/io.hpp>

namespace microbench {

namespace {

class files_of_their_own {
 public:
  explicit files_of_their_own(settings const& s) : how_{s} {}
  void hand_over(std::string&& batch, std::uint64_t index) {
    under_way_.push_back(errand::write_file(path(index), std::move(batch)));
  }
  void wait() {
    for (auto& f : under_way_) f.get();
    under_way_.clear();
  }
  void verify(std::uint64_t count) const {
    for (std::uint64_t i = 0; i < count; ++i) {
      verify_text(path(i), blocks_of_a_batch, i * blocks_of_a_batch);
      make_way(how_, path(i));
    }
  }

 private:
  [[nodiscard]] std::string path(std::uint64_t index) const {
    return scratch_file(how_, "batch-" + std::to_string(index));
  }
  settings const& how_;
  std::vector<errand::future<void>> under_way_{};
};

class one_writer {
 public:
  explicit one_writer(settings const& s) : how_{s}, path_{scratch_file(s, "batches")}, out_{path_} {}
  void hand_over(std::string&& batch, std::uint64_t) { out_.write(std::move(batch)); }
  void wait() { out_.flush(); }
  void verify(std::uint64_t count) {
    out_.close();
    verify_text(path_, count * blocks_of_a_batch);
    make_way(how_, path_);
  }

 private:
  settings const& how_;
  std::string path_;
  errand::file_writer out_;
};

// Shows what the machine does to the two halves of such a run by itself.
class nobody {
 public:
  explicit nobody(settings const&) {}
  void hand_over(std::string&& batch, std::uint64_t) { std::string{std::move(batch)}.clear(); }
  void wait() {}
  void verify(std::uint64_t) {}
};

using of_their_own = behind<files_of_their_own>;
using through_one = behind<one_writer>;

add const free_files{"file-behind", role::ours, "write_file, a file each", &of_their_own::one_core_free,
                     place::own_process};
add const free_writer{"file-behind", role::ours, "file_writer", &through_one::one_core_free, place::own_process};
add const free_nobody{"file-behind", role::floor, "nothing written", &behind<nobody>::one_core_free,
                      place::own_process};
add const busy_files{"file-behind-busy", role::ours, "write_file, a file each", &of_their_own::all_busy,
                     place::own_process};
add const busy_writer{"file-behind-busy", role::ours, "file_writer", &through_one::all_busy, place::own_process};
add const busy_nobody{"file-behind-busy", role::floor, "nothing written", &behind<nobody>::all_busy,
                      place::own_process};
add const handed_files{"file-hand-off", role::ours, "write_file", &of_their_own::hand_off, place::own_process};
add const handed_writer{"file-hand-off", role::ours, "file_writer", &through_one::hand_off, place::own_process};

}  // namespace

}  // namespace microbench
