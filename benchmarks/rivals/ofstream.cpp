// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// std::ofstream, as one writes files in C++ today.
#include "five_files.hpp"
#include "streamed.hpp"
#include "write_behind.hpp"

#include <fstream>

namespace microbench {

namespace {

add const streamed{"file-write", role::rival, "std::ofstream",
                   [](settings const& s) -> repetition {
                     return [s] {
                       return streamed_write(
                           s, [](std::uint64_t blocks) { in_pieces::produce(blocks, discard); },
                           [](std::string const& path, std::uint64_t blocks) {
                             std::ofstream out{path, std::ios::binary};
                             in_pieces::produce(blocks, [&](std::string_view piece) {
                               out.write(piece.data(), static_cast<std::streamsize>(piece.size()));
                             });
                             out.close();
                             require(out.good(), "std::ofstream failed");
                             return std::vector<fact>{};
                           });
                     };
                   },
                   place::own_process};

class one_stream {
 public:
  explicit one_stream(settings const& s) : how_{s}, path_{scratch_file(s, "batches")}, out_{path_, std::ios::binary} {}
  void hand_over(std::string&& batch, std::uint64_t) {
    out_.write(batch.data(), static_cast<std::streamsize>(batch.size()));
    std::string{std::move(batch)}.clear();
  }
  void wait() { out_.flush(); }
  void verify(std::uint64_t count) {
    out_.close();
    require(out_.good(), "std::ofstream failed");
    verify_text(path_, count * blocks_of_a_batch);
    make_way(how_, path_);
  }

 private:
  settings const& how_;
  std::string path_;
  std::ofstream out_;
};

add const one_core_free{"file-behind", role::rival, "std::ofstream", &behind<one_stream>::one_core_free,
                        place::own_process};
add const all_busy{"file-behind-busy", role::rival, "std::ofstream", &behind<one_stream>::all_busy, place::own_process};
add const handed{"file-hand-off", role::rival, "std::ofstream", &behind<one_stream>::hand_off, place::own_process};

void write_lines(line_file const& f) {
  std::ofstream out{f.path, std::ios::binary};
  for (std::size_t i = 0; i < f.lines; ++i) out << the_line;
  out.close();
  require(out.good(), "std::ofstream failed");
}
add const lines{"file-lines-1", role::rival, "std::ofstream", [](settings const& s) -> repetition {
                  return [s] {
                    return write_five_files(s, [](five_files const& files) {
                      for (auto const& f : files) write_lines(f);
                    });
                  };
                }};

}  // namespace

}  // namespace microbench
