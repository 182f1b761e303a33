// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The columns of the table: which jobs each workload consists of, with the post's sizes,
// enlarged by a scale. A scale s multiplies the work: a double loop of size n becomes one
// of size n * sqrt(s), a file of N lines one of N * s.
//
// The fine-grained column counts dispatches, 17 000 of them, and bigger inner loops would only
// hide what a dispatch costs: it keeps the post's own sizes however large the scale.
#pragma once

#include "bench/kernel.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

enum class workload : unsigned { cpu, io, durable, both, fine };

inline constexpr std::array all_workloads{workload::cpu, workload::io, workload::durable, workload::both,
                                          workload::fine};
inline constexpr std::size_t most_jobs = 5;

struct workload_text {
  std::string_view id;     // for --workload
  std::string_view title;  // over the column
};

workload_text text_of(workload w);

// Scale at which a workload runs when the suite runs at `scale`.
double scale_of(workload w, double scale);

// The jobs of a workload, its files in `directory`.
std::vector<job> jobs_of(workload w, double scale, std::string const& directory);

// Steps that the five counting jobs take at scale 1; what `--scale auto` divides by.
std::uint64_t cpu_steps_at_scale_1();

// Bytes that the largest workload keeps on the disk at `scale`.
std::uint64_t most_bytes_on_disk(double scale);

}  // namespace bench
