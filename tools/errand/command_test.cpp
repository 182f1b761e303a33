// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The command as its users meet it: run in a process of its own, looked at from outside.
#include "bench/scratch_directory.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace {

struct ended {
  int status = -1;
  std::string out;
  std::string err;
};

std::string contents(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class command : public testing::Test {
 protected:
  // Through a shell, so that a test may set limits and redirect; %s stands for the scratch directory.
  ended run(std::string arguments, std::string const& before = "") {
    for (auto at = arguments.find("%s"); at != std::string::npos; at = arguments.find("%s")) {
      arguments.replace(at, 2, scratch_.path());
    }
    std::string const out = scratch_.file("out");
    std::string const err = scratch_.file("err");
    std::string const line =
        before + " '" ERRAND_COMMAND "' " + arguments + " >'" + out + "' 2>'" + err + "' </dev/null";
    int const status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(out), contents(err)};
  }

  static void expect_one_line_and_status_2(ended const& e, std::string const& part) {
    EXPECT_EQ(e.status, 2);
    EXPECT_EQ(e.out, "");
    EXPECT_EQ(std::count(e.err.begin(), e.err.end(), '\n'), 1) << e.err;
    EXPECT_TRUE(e.err.starts_with("errand")) << e.err;
    EXPECT_NE(e.err.find(part), std::string::npos) << e.err;
  }

  // Nothing of ours is left in the directory given by --dir.
  void expect_nothing_left_behind() const {
    for (auto const& entry : std::filesystem::directory_iterator(scratch_.path())) {
      EXPECT_EQ(entry.path().filename().string().find("errand-bench"), std::string::npos) << entry.path();
    }
  }

  // The texts that the command keeps are kept here.
  void SetUp() override { setenv("XDG_CACHE_HOME", scratch_.file("cache").c_str(), 1); }

  bench::scratch_directory scratch_{""};
};

TEST_F(command, without_arguments_tells_what_it_can_do) {
  ended const e = run("");
  EXPECT_EQ(e.status, 0);
  EXPECT_NE(e.out.find("bench"), std::string::npos);
}

TEST_F(command, tells_its_version) { EXPECT_TRUE(run("--version").out.starts_with("errand ")); }

TEST_F(command, refuses_options_it_does_not_know) {
  expect_one_line_and_status_2(run("bench --fast"), "--fast");
  expect_one_line_and_status_2(run("bench --runs none"), "--runs");
  expect_one_line_and_status_2(run("bench --scale -1"), "--scale");
  expect_one_line_and_status_2(run("bench --format pdf"), "--format");
  expect_one_line_and_status_2(run("bench text --size much"), "--size");
  expect_one_line_and_status_2(run("banch"), "banch");
}

TEST_F(command, lists_the_names_when_one_is_wrong) {
  expect_one_line_and_status_2(run("bench --technique magic"), "std-thread");
  expect_one_line_and_status_2(run("bench --workload magic"), "cpu, io, durable, both, fine, behind, large");
}

TEST_F(command, says_which_path_cannot_be_used_and_why) {
  expect_one_line_and_status_2(run("bench --dir %s/none"), "none: No such file or directory");
  expect_one_line_and_status_2(run("bench text %s/none"), "none: No such file or directory");
  expect_one_line_and_status_2(run("bench text %s"), "it is a directory");
  expect_one_line_and_status_2(run("bench --output %s/none/report"), "none/report: No such file or directory");
}

TEST_F(command, reports_a_file_that_cannot_grow_and_removes_what_it_wrote) {
  std::string const options =
      "bench --workload io --scale 0.5 --runs 1 --technique std-async --dir %s --output %s/report";
  expect_one_line_and_status_2(run(options, "ulimit -f 100;"), "File too large");
  expect_nothing_left_behind();
  EXPECT_FALSE(std::filesystem::exists(scratch_.file("report")));
  EXPECT_FALSE(std::filesystem::exists(scratch_.file("report.part")));
}

TEST_F(command, reports_an_output_that_is_full) {
  expect_one_line_and_status_2(run("bench text --size 4K --runs 1 --output /dev/full"), "No space left on device");
}

TEST_F(command, measures_the_errand_rows_and_says_where_dispatches_ran) {
  ended const e =
      run("bench --scale 0.01 --runs 1 --workers 2 --technique errand --workload fine --workload cpu --format csv "
          "--dir %s");
  EXPECT_EQ(e.status, 0) << e.err;
  EXPECT_EQ(e.err, "");  // no progress line where stderr is no terminal
  for (char const* const row :
       {"serial-c++", "serial", "threading", "multiprocess", "coro-thread", "coro-multi", "plain"}) {
    EXPECT_NE(e.out.find(std::string("\n") + row + ","), std::string::npos) << row << "\n" << e.out;
  }
  expect_nothing_left_behind();
}

TEST_F(command, measures_what_is_durable_and_what_is_written_behind) {
  ended const e =
      run("bench --scale 0.01 --runs 1 --workers 2 --technique plain --technique python-serial --workload durable "
          "--workload behind --format csv --dir %s");
  EXPECT_EQ(e.status, 0) << e.err;
  for (char const* const row : {"serial-c++", "plain", "behind-nothing", "behind-ofstream", "behind-file-writer"}) {
    EXPECT_NE(e.out.find(std::string("\n") + row + ","), std::string::npos) << row << "\n" << e.out;
  }
  expect_nothing_left_behind();
  ended const alone = run("bench --scale 0.01 --runs 1 --workload behind --dir %s");
  EXPECT_EQ(alone.status, 0) << alone.err;
  EXPECT_NE(alone.out.find("Write-behind"), std::string::npos) << alone.out;
}

TEST_F(command, measures_large_results_copied_and_in_shared_memory) {
  ended const e = run("bench --scale 0.01 --runs 1 --workers 2 --workload large --format csv --dir %s");
  EXPECT_EQ(e.status, 0) << e.err;
  for (char const* const way : {"large-copied", "large-shared"}) {
    EXPECT_NE(e.out.find(std::string("\nlarge-errand,errand,errand,") + way + ','), std::string::npos) << e.out;
    EXPECT_NE(e.out.find(std::string("\nlarge-fork,fork,rivals,") + way + ','), std::string::npos) << e.out;
  }
  expect_nothing_left_behind();
}

TEST_F(command, compares_programs_on_a_text_that_it_keeps) {
  ended const e = run("bench text --size 1M --runs 1 --workers 2 --format json --dir %s --output %s/report.json");
  EXPECT_EQ(e.status, 0) << e.err;
  std::string const report = contents(scratch_.file("report.json"));
  for (char const* const program : {"serial", "lines", "reduce"}) {
    EXPECT_NE(report.find(std::string("\"program\": \"") + program + '"'), std::string::npos) << report;
  }
  expect_nothing_left_behind();
  std::string const text = scratch_.file("cache/errand/text-1-1048576.txt");
  auto const generated = std::filesystem::last_write_time(text);
  EXPECT_EQ(run("bench text --size 1M --runs 1 --program lines --dir %s").status, 0);
  EXPECT_EQ(std::filesystem::last_write_time(text), generated);
}

TEST_F(command, analyses_a_cold_text_of_the_users_own_by_the_programs_that_are_named) {
  std::ofstream(scratch_.file("own.txt")) << "orders 7\ncart 8\n";
  ended const e = run("bench text %s/own.txt --cold --runs 1 --program lines --format csv --dir %s");
  EXPECT_EQ(e.status, 0) << e.err;
  EXPECT_NE(e.out.find("\nlines,"), std::string::npos) << e.out;
  EXPECT_EQ(e.out.find("\nreduce,"), std::string::npos) << e.out;
  EXPECT_EQ(contents(scratch_.file("own.txt")), "orders 7\ncart 8\n");
  expect_one_line_and_status_2(run("bench text --program magic"), "serial, lines, reduce");
}

TEST_F(command, when_interrupted_ends_its_children_and_removes_its_files) {
  std::string const err = scratch_.file("err");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t const pid = fork();
  if (pid == 0) {
    // Every process the command starts inherits the pipe's end, so its closing says that all are gone.
    close(ready[0]);
    freopen(err.c_str(), "w", stderr);
    execl(ERRAND_COMMAND, "errand", "bench", "--scale", "100", "--workload", "cpu", "--technique", "std-thread",
          "--dir", scratch_.path().c_str(), static_cast<char*>(nullptr));
    _exit(1);
  }
  close(ready[1]);
  // Its directory appears when the handlers have long been installed.
  auto const has_begun = [&] {
    auto const entries = std::filesystem::directory_iterator(scratch_.path());
    return std::any_of(begin(entries), end(entries), [](auto const& entry) { return entry.is_directory(); });
  };
  while (!has_begun()) std::this_thread::yield();
  kill(pid, SIGINT);
  int status = 0;
  waitpid(pid, &status, 0);
  char nothing;
  EXPECT_EQ(read(ready[0], &nothing, 1), 0);
  close(ready[0]);
  EXPECT_EQ(WEXITSTATUS(status), 2);
  EXPECT_EQ(contents(err), "errand bench: interrupted\n");
  expect_nothing_left_behind();
}

}  // namespace
