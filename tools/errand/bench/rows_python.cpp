// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Python's own rows: the script benchmarks/python/rows.py, compiled into this program, is run by
// the machine's python3 with the jobs on its command line and answers with one line of JSON.
#include "bench/python_script.hpp"

#include "bench/failure.hpp"
#include "bench/shell.hpp"
#include "bench/technique.hpp"

#include <fmt/format.h>

#include <charconv>
#include <fstream>

namespace bench {
namespace {

std::string job_argument(job const& j) {
  return j.kind == job_kind::count
             ? fmt::format("count:{}", j.n)
             : quoted_for_shell(fmt::format("{}:{}:{}", j.durable ? "sync" : "write", j.n, j.path));
}

// The numbers after "key" in the script's one flat line of JSON: `"key": 1.5` or `"key": [1, 2]`.
template <class T>
std::vector<T> numbers_of(std::string const& json, std::string const& key) {
  std::string const quoted_key = fmt::format("\"{}\": ", key);
  std::size_t const at = json.find(quoted_key);
  if (at == std::string::npos) throw failure(fmt::format("python3 answered without {}: {}", key, json));
  char const* p = json.data() + at + quoted_key.size();
  char const* const end = json.data() + json.size();
  std::vector<T> numbers;
  if (p != end && *p == '[') ++p;
  while (true) {
    T number{};
    auto const [after, error] = std::from_chars(p, end, number);
    if (error != std::errc()) throw failure(fmt::format("python3 answered nonsense for {}: {}", key, json));
    numbers.push_back(number);
    if (end - after < 2 || after[0] != ',' || after[1] != ' ' || after[2] == '"') return numbers;
    p = after + 2;
  }
}

measurement measure_python(std::string const& technique_name, plan const& p) {
  std::string const script = p.directory + "/rows.py";
  std::ofstream(script, std::ios::binary) << python_script;

  std::string command = fmt::format("python3 {} --technique {} --workers {}{}", quoted_for_shell(script),
                                    technique_name, p.workers, p.what == workload::fine ? " --fine" : "");
  for (job const& j : p.jobs) command += " " + job_argument(j);
  ended_program const python = run_program(command + " 2>&1");
  if (python.status != 0) throw failure("python3: " + last_line(python.output));

  measurement m;
  m.seconds = numbers_of<double>(python.output, "seconds").at(0);
  auto const values = numbers_of<std::uint64_t>(python.output, "values");
  auto const seconds = numbers_of<double>(python.output, "job_seconds");
  auto const places = numbers_of<std::uint64_t>(python.output, "places");
  auto const dispatches = numbers_of<std::uint64_t>(python.output, "dispatches");
  auto const elsewhere = numbers_of<std::uint64_t>(python.output, "elsewhere");
  for (std::size_t i = 0; i < p.jobs.size(); ++i) {
    m.answers.at(i).value = values.at(i);
    m.answers.at(i).seconds = seconds.at(i);
    m.answers.at(i).place = places.at(i);
    m.answers.at(i).dispatches = dispatches.at(i);
    m.answers.at(i).elsewhere = elsewhere.at(i);
  }
  return m;
}

}  // namespace

std::string add_python_rows(std::vector<technique>& rows) {
  ended_program const python =
      run_program("python3 -c 'import sys; print(sys.version.split()[0])' 2>/dev/null </dev/null");
  if (python.status != 0) return "";
  auto const add = [&](std::string const& name, std::string const& title, std::string const& note) {
    rows.push_back(
        {"python-" + name, title, family::python, note, [name](plan const& p) { return measure_python(name, p); }});
  };
  add("serial", "Serial", "a loop");
  add("threading", "Threading", "ThreadPool.map; Pool.apply for each dispatch");
  add("multiprocess", "Multiprocess", "Pool.map; Pool.apply for each dispatch");
  add("coro-thread", "Coro Thread", "run_in_executor(ThreadPoolExecutor)");
  add("coro-multi", "Coro Multi", "run_in_executor(ProcessPoolExecutor)");
  return last_line(python.output);
}

}  // namespace bench
