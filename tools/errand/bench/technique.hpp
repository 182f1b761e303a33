// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The rows of the table. A technique is a name and a way to measure one workload; the suite calls
// it in a fresh child process. All C++ techniques share one measurement (measure_runner) and
// supply only a runner: the few lines that hand the jobs out, which is all that differs between them.
// The rows_*.cpp files, one for each family, add theirs to the list.
#pragma once

#include "bench/workload.hpp"

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace bench {

enum class family : unsigned { control, errand, rival, python };

inline constexpr std::array all_families{family::control, family::errand, family::rival, family::python};

std::string_view id_of(family f);

// What one run of one workload is to do.
struct plan {
  workload what = workload::cpu;
  std::vector<job> jobs;
  int workers = 1;
  std::string directory;  // for files other than the jobs' own
};

// What it took. Travels from the child process as plain bytes.
struct measurement {
  double seconds = 0;  // from the first job handed out to the last one done
  std::array<answer, most_jobs> answers{};
  double added_ns = 0;  // fine-grained: nanoseconds that each dispatch added
  bool added_ns_known = false;
};

// A technique at work: constructed (threads started, caches warm) before the clock runs.
class runner {
 public:
  virtual ~runner() = default;

  // Runs whole jobs; returns when all are done. answers[i] belongs to jobs[i].
  virtual void run(std::span<job const> jobs, std::span<answer> answers) = 0;

  // The same with every inner loop of a counting job as a dispatch of its own, in order.
  virtual void run_fine(std::span<job const> jobs, std::span<answer> answers) = 0;
};

struct technique {
  std::string id;     // for --technique
  std::string title;  // in the table
  family kin = family::rival;
  std::string note;  // how it is written, in a few words
  std::function<measurement(plan const&)> measure;
};

// Measures a plan with a runner: warms it up, runs the clock around the jobs, and for the
// fine-grained workload finds what a dispatch adds.
measurement measure_runner(runner& r, plan const& p);

// A technique whose runner is constructed from the number of workers.
template <class Runner>
technique make_technique(std::string id, std::string title, family kin, std::string note) {
  return {std::move(id), std::move(title), kin, std::move(note), [](plan const& p) {
            Runner r(p.workers);
            return measure_runner(r, p);
          }};
}

// One function for each family; those whose library was not found are not compiled.
void add_control_rows(std::vector<technique>& rows);
void add_errand_rows(std::vector<technique>& rows);
void add_std_rows(std::vector<technique>& rows);
void add_fork_rows(std::vector<technique>& rows);
void add_asio_rows(std::vector<technique>& rows);
void add_tbb_rows(std::vector<technique>& rows);
void add_openmp_rows(std::vector<technique>& rows);

// Python's rows, if there is a python3; returns its version, or an empty string.
std::string add_python_rows(std::vector<technique>& rows);

struct technique_list {
  std::vector<technique> rows;
  std::vector<std::string> absent;  // what is missing from this build or machine, for a note
  std::string python_version;
};

// Every technique this build has, in the table's order.
technique_list all_techniques();

}  // namespace bench
