// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "rows.hpp"

namespace microbench {

namespace {

constexpr auto gate = target::kind::gate;
constexpr auto aim = target::kind::aim;

std::vector<std::string> const raw_direct{"raw O_DIRECT by liburing", "raw O_DIRECT by threads"};

// The gates and aims of a large file that is written or read.
std::vector<target> written_well(std::vector<char const*> const& forms) {
  std::vector<target> all;
  for (auto const* const form : forms) {
    all.push_back({gate, form, 1 / 0.85, raw_direct});
    all.push_back({gate, form, 1.0 / 3, {"std::ofstream"}});
    all.push_back({gate, form, 0.2, {}, "CPU s/GiB"});
    all.push_back({aim, form, 1 / 0.9, raw_direct});
    all.push_back({aim, form, 0.2, {"std::ofstream"}});
  }
  all.push_back({gate, "pieces, ERRAND_IO=threads", 1 / 0.85, {"pieces of 1 MiB"}});
  return all;
}
std::vector<target> read_well(std::vector<char const*> const& ways) {
  std::vector<target> all;
  for (auto const* const way : ways) {
    all.push_back({gate, way, 1.2, raw_direct});
    all.push_back({gate, way, 48, {}, "MiB resident"});
    all.push_back({aim, way, 1.1, raw_direct});
    all.push_back({aim, way, 32, {}, "MiB resident"});
  }
  all.push_back({gate, "lines: count, ERRAND_IO=threads", 1 / 0.85, {"lines: count"}});
  return all;
}

}  // namespace

std::vector<row> const& all_rows() {
  static std::vector<row> const rows{
      {.name = "spawn-join-1",
       .title = "start an empty task and take its result, inside a task, one worker",
       .unit = "ns per task",
       .cheat = "tasks that do not run: each counts itself",
       .targets = {{gate, "errand", 1.2, {"Asio"}},
                   {gate, "errand", 1.0 / 3, {"Boost.Fiber", "Boost.Fiber, pooled stacks"}},
                   {aim, "errand", 39}}},
      {.name = "spawn-join-2",
       .title = "the same on two workers",
       .unit = "ns per task",
       .cheat = "a second worker that was never there: % elsewhere is what it took",
       .targets = {{aim, "errand", 85}}},
      {.name = "spawn-join-hop",
       .title = "start and join where the child cannot run on its parent's stack",
       .unit = "ns per join",
       .cheat = "running in place all the same: % parked is how often the parent was seen waiting by its child",
       .targets = {{aim, "errand, child a coroutine", 83}}},
      {.name = "million-from-main",
       .title = "1 000 000 empty tasks from the main thread, then all joined",
       .unit = "ns per task",
       .cheat = "running them on the main thread: % elsewhere",
       .targets = {{gate, "errand", 1, {"oneTBB", "oneTBB, main comes on top"}}, {aim, "errand", 180}}},
      {.name = "million-from-inside",
       .title = "the same from inside a task",
       .unit = "ns per task",
       .cheat = "% elsewhere is what other workers than the starting one took",
       .targets = {{aim, "errand", 100}}},
      {.name = "wake-cold",
       .title = "one task to a sleeping pool and back to the main thread, which waits for it: median",
       .unit = "us per round trip",
       .cheat = "a worker that spins: all other threads are seen in state S before each dispatch; "
                "% main slept is how often the caller slept meanwhile, and was not merely preempted",
       .targets = {{aim, "errand", 1.3, {"raw futex"}}, {aim, "errand, 1 worker", 1.3, {"raw futex"}}}},
      {.name = "wake-both-asleep",
       .title = "the same with the caller asleep before the task returns: the two ways are timed apart and added",
       .unit = "us per round trip",
       .cheat = "a caller that spins: the task sees the main thread in state S before it returns",
       .targets = {{gate, "errand", 1.3, {"raw futex"}}, {gate, "errand, 1 worker", 1.3, {"raw futex"}}}},
      {.name = "wake-hot",
       .title = "one task to the pool and back, one after the other",
       .unit = "us per round trip",
       .cheat = "spinning: CPU is the processors kept busy meanwhile",
       .targets = {{aim, "errand", 0.35}}},
      {.name = "idle-cpu",
       .title = "processor time of an idle pool of 8 workers, after use, over 3 s",
       .unit = "% of one processor",
       .cheat = "a pool that never started: threads; sleeps shorter than the window: wake-ups",
       .targets = {{gate, "errand", 0.01}}},
      {.name = "allocations",
       .title = "system allocations in the steady state: malloc and its kin, operator new, mmap",
       .unit = "per task",
       .cheat = "an allocator that is not watched: std::async shows that the counter counts",
       .targets = {{gate, "errand, inside a task", 0},
                   {gate, "errand, from main", 0},
                   {gate, "errand, by a hop", 0},
                   {gate, "errand, coroutines", 0}}},
      {.name = "yield",
       .title = "two tasks on one worker let each other run",
       .unit = "ns per yield",
       .cheat = "yielding to nobody: % alternated is how often the other had run in between",
       .targets = {{gate, "errand", 6, {"raw switch"}}, {aim, "errand", 21}}},
      {.name = "park-resume",
       .title = "two tasks on one worker wake each other and wait for the other, again and again",
       .unit = "ns per park and resume",
       .cheat = "waits that need not wait: % parked is how often the one that is woken was seen waiting by its waker",
       .targets = {{gate, "errand", 20, {"raw switch"}}, {aim, "errand", 40}}},
      {.name = "suspend-once",
       .title = "1000 tasks, each waits for the one before; the first is let go when all wait",
       .unit = "ns per task",
       .cheat = "tasks that need not wait: most waiting is how many had begun and none had ended",
       .targets = {{aim, "errand, fibers", 75}, {aim, "errand, coroutines", 200}}},
      {.name = "co-await-child",
       .title = "co_await of a coroutine with a frame of its own",
       .unit = "ns per call",
       .cheat = "an elided frame: the child is not inlined",
       .targets = {{gate, "errand", 1.5, {"bare coroutine, frames by operator new"}},
                   {aim, "errand", 1.5, {"bare coroutine"}},
                   {aim, "errand", 17}}},
      {.name = "co-await-async",
       .title = "co_await of a task on a pool, by a coroutine there",
       .unit = "ns per task",
       .cheat = "% elsewhere is what another thread ran",
       .targets = {}},
      {.name = "suspended-memory",
       .title = "resident memory of a suspended task",
       .unit = "bytes each",
       .cheat = "tasks that have not begun: each was counted as begun, and none had ended; too large a frame taken off: it is "
                "what the compiler asks for with a promise of one pointer",
       .targets = {{gate, "errand, 1 000 000 coroutines, beyond the frame", 200},
                   {aim, "errand, 1 000 000 coroutines, beyond the frame", 160},
                   {aim, "errand, 10 000 fibers", 4300}}},
      {.name = "fine-grained",
       .title = "the inner loops of the CPU jobs, each dispatched: what a dispatch adds to the serial loop",
       .unit = "ns per dispatch",
       .cheat = "% elsewhere is how many ran on another thread than the one that dispatched it",
       .targets = {{aim, "errand, coroutines", 60}, {aim, "errand, threads from main", 500}}},
      {.name = "when-all",
       .title = "one future of many that are ready already, and its value: a vector",
       .unit = "ns per future",
       .cheat = "values that do not arrive: their sum is checked",
       .targets = {{gate, "errand, 1000 ready", 100}, {gate, "errand, 10 000 ready", 2, {"errand, 100 ready"}}}},
      {.name = "timer-arm",
       .title = "start a task with a time limit of an hour and join it; Asio: arm a timer and cancel it",
       .unit = "ns each",
       .cheat = "a limit that is never armed: the task sees a stop token that can stop",
       .targets = {{aim, "errand", 239}}},
      {.name = "sleep-lateness",
       .title = "how late a sleep of 1 ms ends: median",
       .unit = "us late",
       .cheat = "waking early: never before its time; a spinning timer: CPU",
       .targets = {}},
      {.name = "sleepers-10k",
       .title = "10 000 tasks that sleep 100 ms: from the first start to the last join",
       .unit = "ms",
       .cheat = "a thread for each sleeper: threads; none may wake early",
       .targets = {}},
      {.name = "sleepers-100k",
       .title = "100 000 of them",
       .unit = "ms",
       .cheat = "a thread for each sleeper: threads; none may wake early",
       .targets = {{aim, "errand", 181}, {aim, "errand, coroutines", 181}}},
      {.name = "loop-1",
       .title = "a parallel loop over one element, empty body",
       .unit = "ns per call",
       .cheat = "each iteration counts itself",
       .targets = {}},
      {.name = "loop-1000",
       .title = "over 1000 elements",
       .unit = "ns per call",
       .cheat = "a fan-out that did not fan out: threads, % elsewhere",
       .targets = {}},
      {.name = "loop-million",
       .title = "over 1 000 000 elements",
       .unit = "ns per element",
       .cheat = "a fan-out that did not fan out: threads, % elsewhere",
       .targets = {}},
      {.name = "file-write",
       .title = "a large new file, 1 MiB at a time or line by line, from the first byte to close()",
       .unit = "s per GiB",
       .cheat = "bytes that are not written: all are read back past the page cache; CPU is the whole process's, less what it "
                "takes to produce the same for nobody; ofstream leaves the disk's work for later",
       .targets = written_well({"pieces of 1 MiB", "strings of 1 MiB, moved", "lines of 60 bytes"})},
      {.name = "file-read-cold",
       .title = "a large text that is not in memory, line by line",
       .unit = "s per GiB",
       .cheat = "a file that is in memory: % cached before; lines left out: their number and sum are checked",
       .targets = read_well({"lines: count", "lines: split", "lines: parse", "for_each_line: count", "for_each_line: split",
                             "for_each_line: parse", "reduce_lines: count", "reduce_lines: split", "reduce_lines: parse"})},
      {.name = "file-read-warm",
       .title = "a quarter of it that is in memory, lines parsed",
       .unit = "s per GiB",
       .cheat = "a file that is not in memory: % cached after; lines left out: their number and sum are checked",
       .targets = {{gate, "reduce_lines: parse, two workers", 1 / 1.8, {"reduce_lines: parse, one worker"}},
                   {aim, "reduce_lines: parse, two workers", 1 / 1.9, {"reduce_lines: parse, one worker"}}}},
      {.name = "file-behind",
       .title = "a loop that computes and hands over 4 MiB every 10 ms: how much slower than without the writing",
       .unit = "% slower",
       .cheat = "bytes that are not written: all are read back; the same steps are counted with and without; nothing written "
                "is what the machine does by itself",
       .targets = {{gate, "write_file, a file each", 4}, {gate, "file_writer", 4}, {aim, "file_writer", 3}}},
      {.name = "file-behind-busy",
       .title = "the same while all other processors compute too",
       .unit = "% slower",
       .cheat = "as above",
       .targets = {{gate, "write_file, a file each", 4}, {gate, "file_writer", 4}}},
      {.name = "file-hand-off",
       .title = "a string of 4 MiB is given away, nothing else being under way: median",
       .unit = "us",
       .cheat = "bytes that are not written: all are read back",
       .targets = {{gate, "write_file", 40},
                   {gate, "write_file", 40, {}, "worst us"},
                   {gate, "file_writer", 40},
                   {gate, "file_writer", 40, {}, "worst us"},
                   {aim, "write_file", 30},
                   {aim, "file_writer", 30}}},
      {.name = "file-lines-1",
       .title = "five files, 4 000 000 lines of 5 bytes in all, line by line, on one thread",
       .unit = "ms",
       .cheat = "lines that are not written: every byte is read back; work left to others: CPU",
       .targets = {{gate, "file_writer", 1.25, {"bare buffer of 64 KiB"}}, {aim, "file_writer", 1.2, {"bare buffer of 64 KiB"}}}},
      {.name = "file-lines-2",
       .title = "the same on two",
       .unit = "ms",
       .cheat = "as above",
       .targets = {{gate, "file_writer", 1.25, {"bare buffer of 64 KiB"}}, {aim, "file_writer", 1.2, {"bare buffer of 64 KiB"}}}},
      {.name = "file-small-write",
       .title = "1000 new files of 4 KiB, all started, then all waited for",
       .unit = "us per file",
       .cheat = "files that are not written: all are read back",
       .targets = {{gate, "write_file", 1.4, {"open, write, close"}}, {aim, "write_file", 1.3, {"open, write, close"}}}},
      {.name = "file-small-read",
       .title = "the same files read",
       .unit = "us per file",
       .cheat = "contents that are not theirs: all are compared",
       .targets = {{gate, "read_file", 1.4, {"open, read, close"}}, {aim, "read_file", 1.3, {"open, read, close"}}}},
      {.name = "process-serialise",
       .title = "a value into the bytes of a message and out of them again, in one process",
       .unit = "ns",
       .cheat = "values that are not read: each is compared with what was written",
       .targets = {{aim, "64 bytes, trivially copyable", 50}, {aim, "a string, a vector and a map, by cereal", 500}}},
      {.name = "process-values",
       .title = "a value to a worker process and back, one after the other",
       .unit = "us per round trip",
       .cheat = "values that stay here: each that comes back is compared",
       .targets = {}},
      {.name = "process-large",
       .title = "a result of 100 MiB, from the moment at which it is ready there to that at which it can be read here: median",
       .unit = "ms",
       .cheat = "memory that was never written: each number of it depends on the round and is verified here; the way begins "
                "after it is made and ends before it is verified, for all alike",
       .targets = {{gate, "shared_vector, in place", 1.0 / 50, {"pipe", "pipe of 1 MiB"}},
                   {aim, "shared_vector, in place", 0.26}}},
  };
  return rows;
}

}  // namespace microbench
