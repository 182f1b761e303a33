// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/behind.hpp"

#include "bench/auxiliary_file.hpp"
#include "bench/failure.hpp"
#include "bench/kernel.hpp"
#include "bench/verify.hpp"
#include "bench/workload.hpp"

#include <errand/io.hpp>

#include <array>
#include <cmath>
#include <future>
#include <utility>

namespace bench {
namespace {

constexpr std::uint64_t pieces = 64;

std::uint64_t loops_of(behind_plan const& p) { return static_cast<std::uint64_t>(15'000 * std::sqrt(p.scale)); }

std::uint64_t lines_of_a_piece(behind_plan const& p) {
  return most_bytes_on_disk(p.scale) / line_of_the_post.size() / pieces + 1;
}

std::string file_of(behind_plan const& p) { return p.directory + "/behind.txt"; }

std::string piece_of_lines(std::uint64_t lines) {
  std::string piece;
  for (std::uint64_t i = 0; i < lines; ++i) piece += line_of_the_post;
  return piece;
}

// The main program. A Writer brings write(std::string&&) and finish(); pieces are copies of one, which all have to make.
template <class Writer>
behind_sample compute_and_write(behind_plan const& p) {
  std::string const piece = piece_of_lines(lines_of_a_piece(p));
  std::uint64_t const loops = loops_of(p);
  std::uint64_t const steps = loops * (loops - 1) / 2;
  Writer out(file_of(p));
  behind_sample s;
  std::uint64_t counted = 0;
  std::uint64_t written = 0;
  double const begin = now();
  for (std::uint64_t i = 0; i < loops; ++i) {
    counted += inner_loop(i).steps;
    for (; written < pieces && counted * pieces >= (written + 1) * steps; ++written) out.write(std::string(piece));
  }
  s.main_seconds = now() - begin;
  out.finish();
  s.all_seconds = now() - begin;
  if (counted != steps || written != pieces) throw failure("the main computation did not count every step");
  return s;
}

class written_by_nobody {
 public:
  explicit written_by_nobody(std::string const& /*path*/) {}
  void write(std::string&& piece) {
    std::string const taken = std::move(piece);
    asm volatile("" : : "r"(taken.data()) : "memory");
  }
  void finish() {}
};

class written_in_place {
 public:
  explicit written_in_place(std::string const& path) : out_(path) {}
  void write(std::string&& piece) { out_.append(std::string(std::move(piece))); }
  void finish() { out_.finish(); }

 private:
  stream_file out_;
};

// The piece before must be down, so that they stay in order and memory stays bounded.
class written_by_std_async {
 public:
  explicit written_by_std_async(std::string const& path) : out_(path) {}
  void write(std::string&& piece) {
    if (on_its_way_.valid()) on_its_way_.get();
    on_its_way_ = std::async(std::launch::async, [this, taken = std::move(piece)] { out_.append(taken); });
  }
  void finish() {
    if (on_its_way_.valid()) on_its_way_.get();
    out_.finish();
  }

 private:
  stream_file out_;
  std::future<void> on_its_way_{};
};

class written_by_file_writer {
 public:
  explicit written_by_file_writer(std::string const& path) : out_(path) {}
  void write(std::string&& piece) { out_.write(std::move(piece)); }
  void finish() { out_.close(); }

 private:
  errand::file_writer out_;
};

}  // namespace

std::vector<behind_program> const& behind_programs() {
  static std::vector<behind_program> const all{
      {"behind-nothing", "nothing written", false, compute_and_write<written_by_nobody>},
      {"behind-ofstream", "std::ofstream, in place", false, compute_and_write<written_in_place>},
      {"behind-std-async", "std::ofstream by std::async", false, compute_and_write<written_by_std_async>},
      {"behind-file-writer", "errand::file_writer", true, compute_and_write<written_by_file_writer>},
  };
  return all;
}

void verify_behind(behind_plan const& p, behind_program const& program) {
  if (&program == &behind_programs().front()) return;
  verify_lines(file_of(p), lines_of_a_piece(p) * pieces);
}

}  // namespace bench
