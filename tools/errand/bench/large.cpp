// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/large.hpp"

#include "bench/failure.hpp"
#include "bench/kernel.hpp"
#include "bench/python_script.hpp"
#include "bench/shell.hpp"
#include "bench/statistics.hpp"

#include <errand/process.hpp>
#include <errand/shared_vector.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <span>
#include <sstream>
#include <utility>

namespace bench {
namespace {

using number = std::uint64_t;

constexpr std::size_t bytes_at_scale_1 = std::size_t{100} << 20U;
constexpr std::size_t block = std::size_t{64} << 10U;  // sizes are whole blocks

// The first round touches the memory; of the others the median counts.
constexpr number warming = 1;
constexpr number rounds = 4;

// Every number is written, and depends on the round.
constexpr number value_of(number round, std::size_t i) { return round * 0x9e3779b97f4a7c15U + i; }

void fill(std::span<number> numbers, number round) {
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = value_of(round, i);
}

void verify_filled(std::span<number const> numbers, std::size_t count, number round) {
  if (numbers.size() != count) throw failure(fmt::format("a result has {} numbers, not {}", numbers.size(), count));
  for (std::size_t i = 0; i < count; ++i) {
    if (numbers[i] != value_of(round, i)) throw failure(fmt::format("number {} of a result is wrong", i));
  }
}

large_sample median_of(std::span<double const> seconds) { return {spread_of(seconds.subspan(warming)).median}; }

// `get(round)` returns how long that round's result was on its way.
template <class Get>
large_sample measure_rounds(Get const& get) {
  std::vector<double> seconds;
  for (number round = 0; round < rounds; ++round) seconds.push_back(get(round));
  return median_of(seconds);
}

// ---- errand ----------------------------------------------------------------------------------------------------------

template <class Container>
std::pair<double, Container> made_there(std::size_t count, number round) {
  Container numbers(count);
  fill(numbers, round);
  return {now(), std::move(numbers)};
}

template <class Container>
large_sample by_errand(large_plan const& p) {
  setenv("ERRAND_THREADS", std::to_string(p.workers).c_str(), 1);
  std::size_t const count = p.bytes / sizeof(number);
  return measure_rounds([count](number round) {
    auto const [ready, numbers] = errand::async(errand::processes, made_there<Container>, count, round).get();
    double const seconds = now() - ready;
    verify_filled(numbers, count, round);
    return seconds;
  });
}

// ---- fork ------------------------------------------------------------------------------------------------------------

struct closes {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using stream = std::unique_ptr<std::FILE, closes>;

// Not buffered: what is read and written goes from and to where it lies.
stream open_end(int fd, char const* mode) {
  stream s(fdopen(fd, mode));
  if (!s) throw os_failure("open a pipe", errno);
  std::setvbuf(s.get(), nullptr, _IONBF, 0);
  return s;
}

// A forked child that makes a result whenever it is asked for one: `put(out, round)` says that it is ready, and sends it.
class asked_child {
 public:
  template <class Put>
  explicit asked_child(Put put) {
    int asks[2];
    int answers[2];
    if (pipe2(asks, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) throw os_failure("make a pipe", errno);
    (void)fcntl(answers[1], F_SETPIPE_SZ, 1 << 20);  // a larger pipe is a quicker one
    child_ = fork();
    if (child_ < 0) throw os_failure("fork", errno);
    if (child_ == 0) {
      close(asks[1]);
      close(answers[0]);
      stream const in = open_end(asks[0], "rb");
      stream const out = open_end(answers[1], "wb");
      for (number round; std::fread(&round, sizeof round, 1, in.get()) == 1;) put(out.get(), round);
      _exit(0);
    }
    close(asks[0]);
    close(answers[1]);
    asks_ = open_end(asks[1], "wb");
    answers_ = open_end(answers[0], "rb");
  }
  ~asked_child() {
    asks_.reset();
    while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  asked_child(asked_child const&) = delete;
  asked_child& operator=(asked_child const&) = delete;

  void ask(number round) { std::fwrite(&round, sizeof round, 1, asks_.get()); }
  template <class T>
  void take(std::span<T> to) {
    if (std::fread(to.data(), sizeof(T), to.size(), answers_.get()) != to.size())
      throw failure("a forked child ended early");
  }

 private:
  stream asks_;
  stream answers_;
  pid_t child_;
};

void put_time(std::FILE* out) {
  double const ready = now();
  std::fwrite(&ready, sizeof ready, 1, out);
}

large_sample by_a_pipe(large_plan const& p) {
  std::size_t const count = p.bytes / sizeof(number);
  asked_child child([there = std::vector<number>(count)](std::FILE* out, number round) mutable {
    fill(there, round);
    put_time(out);
    std::fwrite(there.data(), sizeof(number), there.size(), out);
  });
  std::vector<number> here(count);
  return measure_rounds([&](number round) {
    child.ask(round);
    double ready = 0;
    child.take(std::span(&ready, 1));
    child.take(std::span(here));
    double const seconds = now() - ready;
    verify_filled(here, count, round);
    return seconds;
  });
}

large_sample by_a_mapping(large_plan const& p) {
  void* const memory = mmap(nullptr, p.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw os_failure("map shared memory", errno);
  std::span<number> const both(static_cast<number*>(memory), p.bytes / sizeof(number));
  asked_child child([both](std::FILE* out, number round) {
    fill(both, round);
    put_time(out);
  });
  return measure_rounds([&](number round) {
    child.ask(round);
    double ready = 0;
    child.take(std::span(&ready, 1));
    double const seconds = now() - ready;
    verify_filled(both, both.size(), round);
    return seconds;
  });
}

// ---- Python ----------------------------------------------------------------------------------------------------------

// benchmarks/python/large.py prints the seconds of each round, one a line.
large_sample by_python(large_plan const& p, char const* way) {
  std::string const script = p.directory + "/large.py";
  std::ofstream(script, std::ios::binary) << python_large_script;
  ended_program const python =
      run_program(fmt::format("python3 {} {} {} {} 2>&1", quoted_for_shell(script), way, p.bytes, rounds));
  if (python.status != 0) throw failure("python3: " + last_line(python.output));
  std::vector<double> seconds;
  std::istringstream lines(python.output);
  for (double one = 0; lines >> one;) seconds.push_back(one);
  if (seconds.size() != rounds) throw failure("python3 answered nonsense: " + python.output);
  return median_of(seconds);
}

}  // namespace

std::size_t large_bytes(double scale) {
  auto const bytes = static_cast<std::size_t>(bytes_at_scale_1 * std::min(scale, 1.0));
  return std::max(bytes / block, std::size_t{1}) * block;
}

std::vector<large_program> const& large_programs() {
  static std::vector<large_program> const all{
      {"large-fork", "fork", family::rival, "a pipe of 1 MiB; a mapping made before the fork, always the same",
       by_a_pipe, by_a_mapping},
      {"large-errand", "errand", family::errand, "async(processes, …) of a std::vector; of a shared_vector",
       by_errand<std::vector<number>>, by_errand<errand::shared_vector<number>>},
      {"large-python", "Python", family::python, "ProcessPoolExecutor, bytes; shared_memory",
       [](large_plan const& p) { return by_python(p, "copied"); },
       [](large_plan const& p) { return by_python(p, "shared"); }},
  };
  return all;
}

}  // namespace bench
