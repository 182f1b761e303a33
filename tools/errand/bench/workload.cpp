// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bench {
namespace {

constexpr std::array<std::uint64_t, 5> cpu_sizes{2000, 15000, 10000, 1000, 12000};
constexpr std::array<std::uint64_t, 5> io_lines{200'000, 1'500'000, 1'000'000, 100'000, 1'200'000};
constexpr std::array<std::uint64_t, 2> both_cpu_sizes{2000, 15000};
constexpr std::array<std::uint64_t, 3> both_io_lines{1'000'000, 100'000, 1'200'000};

void add_counting(std::vector<job>& jobs, std::span<std::uint64_t const> sizes, double scale) {
  for (std::uint64_t const n : sizes) {
    jobs.push_back(job::count(static_cast<std::uint64_t>(std::llround(static_cast<double>(n) * std::sqrt(scale)))));
  }
}

void add_writing(std::vector<job>& jobs, std::span<std::uint64_t const> lines, double scale,
                 std::string const& directory, bool durable = false) {
  for (std::uint64_t const n : lines) {
    auto const scaled = static_cast<std::uint64_t>(std::llround(static_cast<double>(n) * scale));
    jobs.push_back(job::write(scaled, fmt::format("{}/lines-{}.txt", directory, jobs.size()), durable));
  }
}

}  // namespace

workload_text text_of(workload w) {
  switch (w) {
    case workload::cpu:
      return {"cpu", "CPU"};
    case workload::io:
      return {"io", "I/O (page cache)"};
    case workload::durable:
      return {"durable", "I/O (on the disk)"};
    case workload::both:
      return {"both", "Both"};
    case workload::fine:
      return {"fine", "Both, fine-grained"};
  }
  return {};
}

double scale_of(workload w, double scale) { return w == workload::fine ? std::min(scale, 1.0) : scale; }

std::vector<job> jobs_of(workload w, double scale, std::string const& directory) {
  std::vector<job> jobs;
  double const s = scale_of(w, scale);
  switch (w) {
    case workload::cpu:
      add_counting(jobs, cpu_sizes, s);
      break;
    case workload::io:
      add_writing(jobs, io_lines, s, directory);
      break;
    case workload::durable:
      add_writing(jobs, io_lines, s, directory, true);
      break;
    case workload::both:
    case workload::fine:
      add_counting(jobs, both_cpu_sizes, s);
      add_writing(jobs, both_io_lines, s, directory);
      break;
  }
  return jobs;
}

std::uint64_t cpu_steps_at_scale_1() {
  std::uint64_t steps = 0;
  for (std::uint64_t const n : cpu_sizes) steps += n * (n - 1) / 2;
  return steps;
}

std::uint64_t most_bytes_on_disk(double scale) {
  std::uint64_t lines = 0;
  for (std::uint64_t const n : io_lines) lines += n;
  return static_cast<std::uint64_t>(static_cast<double>(lines * line_of_the_post.size()) * scale);
}

}  // namespace bench
