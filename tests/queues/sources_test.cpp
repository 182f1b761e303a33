// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Event sources: what each tells, how it ends, and what bad input says.
#include <gtest/gtest.h>
#include <errand/queue.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/in_child.hpp"
#include "support/scratch.hpp"
#include "support/sequencer.hpp"

namespace {

using namespace std::chrono_literals;
using errand_test::flag;

struct pipe_of_two {
  pipe_of_two() {
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw std::system_error{errno, std::generic_category()};
  }
  ~pipe_of_two() {
    close_reader();
    close_writer();
  }
  [[nodiscard]] int reader() const { return ends[0]; }
  [[nodiscard]] int writer() const { return ends[1]; }
  void close_reader() { close_one(0); }
  void close_writer() { close_one(1); }
  void close_one(std::size_t i) {
    if (ends[i] >= 0) ::close(ends[i]);
    ends[i] = -1;
  }
  std::array<int, 2> ends{};
};

int open_descriptors() {
  int count = 0;
  for (auto const& e : std::filesystem::directory_iterator{"/proc/self/fd"}) {
    static_cast<void>(e);
    ++count;
  }
  return count;
}

// ---- descriptors ---------------------------------------------------------------------------------------------------------

TEST(readable_source, tells_what_is_there_and_that_the_peer_has_closed) {
  pipe_of_two p;
  errand::serial_queue q;
  std::string got;
  int closed = 0;
  auto h = errand::on(q, errand::readable_source{p.reader()}, [&](errand::readable_event e) {
    std::array<char, 3> some{};  // less than there is: it is told again
    auto const n = ::read(p.reader(), some.data(), some.size());
    if (n > 0) {
      EXPECT_GE(e.available, static_cast<std::size_t>(n));
      got.append(some.data(), static_cast<std::size_t>(n));
    }
    if (e.closed) ++closed;
  });
  EXPECT_EQ(::write(p.writer(), "hello world", 11), 11);
  while (errand::async(q, [&] { return got.size(); }).get() < 11) std::this_thread::yield();
  p.close_writer();
  h.wait();
  EXPECT_EQ(got, "hello world");
  EXPECT_EQ(closed, 1) << "and nothing spins";
  EXPECT_FALSE(h.active());
}

TEST(readable_source, a_loop_in_a_task_and_a_coroutine) {
  pipe_of_two p;
  auto reads = errand::async([&] {
    errand::readable_source s{p.reader()};
    std::string got;
    while (auto const e = s.next()) {
      std::array<char, 64> some{};
      auto const n = ::read(p.reader(), some.data(), some.size());
      if (n > 0) got.append(some.data(), static_cast<std::size_t>(n));
    }
    return got;
  });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(::write(p.writer(), "ab", 2), 2);
  p.close_writer();
  EXPECT_EQ(reads.get().size(), 200U);

  pipe_of_two second;
  auto counts = errand::async(
      [](int fd) -> errand::task<int> {
        errand::readable_source s{fd};
        int count = 0;
        while (auto const e = co_await s) {
          char c = 0;
          if (::read(fd, &c, 1) == 1) ++count;
        }
        co_return count;
      },
      second.reader());
  EXPECT_EQ(::write(second.writer(), "abcde", 5), 5);
  second.close_writer();
  EXPECT_EQ(counts.get(), 5);
}

TEST(readable_source, reader_and_writer_of_one_socket_at_once) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()), 0);
  errand::readable_source r{pair[0]};
  errand::writable_source w{pair[0]};
  EXPECT_FALSE(w.next()->closed);
  EXPECT_FALSE(r.try_next());
  EXPECT_EQ(::write(pair[1], "x", 1), 1);
  EXPECT_EQ(r.next()->available, 1U);
  char c = 0;
  EXPECT_EQ(::read(pair[0], &c, 1), 1);
  ::close(pair[1]);
  EXPECT_TRUE(r.next()->closed);
  EXPECT_FALSE(r.next());
  EXPECT_TRUE(w.next()->closed);
  ::close(pair[0]);
}

TEST(writable_source, is_told_when_there_is_room_again) {
  pipe_of_two p;
  std::array<char, 4096> block{};
  while (::write(p.writer(), block.data(), block.size()) > 0) {
  }
  errand::writable_source w{p.writer()};
  EXPECT_FALSE(w.try_next());
  auto waits = errand::async([&] { return w.next()->closed; });
  while (::read(p.reader(), block.data(), block.size()) > 0) {
  }
  EXPECT_FALSE(waits.get());
}

TEST(readable_source, a_closed_peer_ends_the_handlers_of_both_directions_and_nothing_spins) {
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()), 0);
  std::array<char, 4096> block{};
  while (::write(pair[0], block.data(), block.size()) > 0) {
  }
  errand::serial_queue q;
  std::vector<bool> read, written;  // of each call, whether the peer has closed
  auto reads = errand::on(q, errand::readable_source{pair[0]}, [&](errand::readable_event e) { read.push_back(e.closed); });
  auto writes = errand::on(q, errand::writable_source{pair[0]}, [&](errand::writable_event e) { written.push_back(e.closed); });
  EXPECT_TRUE(reads.active() && writes.active());
  ::close(pair[1]);
  reads.wait();
  writes.wait();
  EXPECT_FALSE(reads.active() || writes.active());
  EXPECT_EQ(read, (std::vector{true}));
  EXPECT_EQ(written, (std::vector{true}));
  auto const calls = q.statistics().submitted;
  for (int i = 0; i < 100; ++i) errand::async([] {}).get();
  EXPECT_EQ(q.statistics().submitted, calls);
  ::close(pair[0]);
}

TEST(readable_source, bad_input_is_one_clear_error) {
  auto const text_of = [](auto make) {
    try {
      make();
    } catch (std::system_error const& e) {
      return std::string{e.what()};
    }
    return std::string{"nothing"};
  };
  EXPECT_NE(text_of([] { errand::readable_source{-1}; }).find("-1"), std::string::npos);
  int const file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  auto const refused = text_of([&] { errand::readable_source{file}; });
  EXPECT_NE(refused.find("regular file"), std::string::npos) << refused;
  ::close(file);
}

TEST(readable_source, cancelling_gives_the_descriptor_back) {
  pipe_of_two p;
  { errand::readable_source first{p.reader()}; }
  int const before = open_descriptors();
  errand::serial_queue q;
  auto h = errand::on(q, errand::readable_source{p.reader()}, [] {});
  EXPECT_EQ(open_descriptors(), before + 1);
  h.cancel();
  EXPECT_EQ(open_descriptors(), before);
  errand::readable_source s{p.reader()};
  s.cancel();
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_FALSE(s.next());
}

TEST(readable_source, a_storm_of_events_starves_nobody) {
  pipe_of_two p;
  EXPECT_EQ(::write(p.writer(), "x", 1), 1);
  std::atomic<int> calls{0};
  auto h = errand::on(errand::threads, errand::readable_source{p.reader()}, [&] { ++calls; });  // never read: again and again
  for (int i = 0; i < 200; ++i) EXPECT_EQ(errand::async([i] { return i; }).get(), i);
  while (calls < 10) std::this_thread::yield();
  h.cancel();
  int const then = calls;
  errand::async([] {}).get();
  EXPECT_EQ(calls, then);
}

TEST(readable_source, many_come_and_go_while_events_arrive) {
  pipe_of_two p;
  EXPECT_EQ(::write(p.writer(), "x", 1), 1);
  std::atomic<int> calls{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        auto h = errand::on(errand::threads, errand::readable_source{p.reader()}, [&] { ++calls; });
        if (i % 3 == 0) std::this_thread::yield();
      }
    });
  for (auto& t : threads) t.join();
}

// Nobody holds them any more. Each ends itself with its third call, and is brought no more than that.
TEST(handler, goes_on_when_it_is_detached_whatever_its_source) {
  constexpr int rounds = 3;
  pipe_of_two p;
  errand::serial_queue q;
  struct count {
    std::atomic<int>& calls;
    void operator()() const {
      if (++calls == rounds) throw errand::operation_cancelled{};
    }
  };
  std::array<std::atomic<int>, 7> calls{};
  auto& [readable, writable, ticks, signals, numbers, texts, changes] = calls;
  auto const path = std::filesystem::temp_directory_path() / ("errand_detached_" + std::to_string(::getpid()));
  std::ofstream{path} << "1";
  errand::data_source<errand::merge::add> sums;
  auto const add = sums.adder();
  errand::data_source<errand::merge::replace<std::string>> status;
  auto const put = status.putter();
  errand::on(q, errand::readable_source{p.reader()}, count{readable}).detach();
  errand::on(errand::threads, errand::writable_source{p.writer()}, count{writable}).detach();
  errand::every(q, 1ms, count{ticks}).detach();
  errand::on(q, errand::signal_source{SIGUSR1}, count{signals}).detach();
  errand::on(q, std::move(sums), count{numbers}).detach();
  errand::on(q, std::move(status), count{texts}).detach();
  errand::on(q, errand::file_source{path.string(), errand::file_change::closed}, count{changes}).detach();
  std::vector<errand::timer_source> others;  // who would be given their memory, if it were free
  for (int i = 0; i < 20; ++i) others.emplace_back(24h);

  EXPECT_EQ(::write(p.writer(), "x", 1), 1);
  for (int round = 1; round <= rounds; ++round) {
    ::raise(SIGUSR1);
    add(1);
    put("text");
    std::ofstream{path, std::ios::app} << "2";
    for (auto const* const one : {&signals, &numbers, &texts, &changes})
      while (*one < round) std::this_thread::yield();
  }
  for (auto const& one : calls)
    while (one < rounds) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) errand::async(q, [] {}).get();
  for (auto const& one : calls) EXPECT_EQ(one, rounds);
  std::filesystem::remove(path);
}

// ---- signals -------------------------------------------------------------------------------------------------------------

TEST(signal_source, is_told_on_a_queue_whatever_thread_the_signal_meets) {
  errand::serial_queue q;
  std::atomic<std::uint64_t> count{0};
  std::atomic<int> sender{0};
  auto h = errand::on(q, errand::signal_source{SIGTERM, SIGUSR2}, [&](errand::signal_event e) {
    EXPECT_TRUE(e.signal == SIGTERM || e.signal == SIGUSR2);
    sender = e.sender;
    count += e.count;
  });
  std::thread{[] { ::kill(::getpid(), SIGTERM); }}.join();  // this thread blocks nothing: it would be the end
  ::kill(::getpid(), SIGUSR2);
  while (count < 2) std::this_thread::yield();
  EXPECT_EQ(sender, ::getpid());
  for (int i = 0; i < 100; ++i) ::raise(SIGUSR2);
  while (count < 102) std::this_thread::yield();
}

TEST(signal_source, what_was_set_before_is_set_again) {
  struct sigaction now{};
  auto const before = ::signal(SIGUSR1, SIG_IGN);
  {
    errand::signal_source a{SIGUSR1};
    errand::signal_source b{SIGUSR1};
    ::raise(SIGUSR1);
    EXPECT_EQ(a.next()->count, 1U);
    EXPECT_EQ(b.next()->signal, SIGUSR1);
    EXPECT_FALSE(a.try_next());
    a.cancel();
    ::raise(SIGUSR1);
    EXPECT_EQ(b.next()->count, 1U);
    EXPECT_FALSE(a.next());
  }
  ::sigaction(SIGUSR1, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
  ::signal(SIGUSR1, before);
}

TEST(signal_source, the_child_of_a_fork_has_what_was_set_before) {
  errand::signal_source s{SIGUSR1};
  EXPECT_EQ(errand_test::in_child([&] {
              struct sigaction now{};
              ::sigaction(SIGUSR1, nullptr, &now);
              errand_test::require(now.sa_handler == SIG_DFL, "the default is back");
              try {
                static_cast<void>(s.next());
                errand_test::require(false, "the parent's source throws");
              } catch (std::logic_error const&) {
              }
            }),
            0);
  ::raise(SIGUSR1);
  EXPECT_EQ(s.next()->count, 1U);
}

TEST(signal_source, bad_input_is_one_clear_error) {
  for (int const n : {SIGKILL, SIGSTOP, SIGSEGV, 0, -1, 1000}) {
    try {
      errand::signal_source s{n};
      ADD_FAILURE() << n;
    } catch (std::invalid_argument const& e) {
      EXPECT_NE(std::string{e.what()}.find(std::to_string(n)), std::string::npos) << e.what();
    }
  }
}

// ---- children ------------------------------------------------------------------------------------------------------------

TEST(child_source, tells_once_how_a_child_has_ended) {
  auto const child = [](auto body) {
    auto const pid = ::fork();
    if (pid == 0) {
      body();
      ::_exit(7);
    }
    return pid;
  };
  auto const first = child([] {});
  errand::child_source s{first};
  auto const e = s.next();
  ASSERT_TRUE(e);
  EXPECT_EQ(e->pid, first);
  EXPECT_EQ(e->status, 7);
  EXPECT_EQ(e->signal, 0);
  EXPECT_TRUE(e->reaped);
  EXPECT_FALSE(s.next());
  EXPECT_EQ(::waitpid(first, nullptr, 0), -1) << "it was reaped";

  auto const second = child([] { ::pause(); });
  errand::serial_queue q;
  std::atomic<int> signal{0};
  auto h = errand::on(q, errand::child_source{second}, [&](errand::child_event c) { signal = c.signal; });
  ::kill(second, SIGKILL);
  h.wait();
  EXPECT_EQ(signal, SIGKILL);
}

TEST(child_source, bad_input_is_one_clear_error) {
  EXPECT_THROW(errand::child_source{::getpid()}, std::system_error);
  EXPECT_THROW(errand::child_source{-1}, std::system_error);
  EXPECT_THROW(errand::child_source{1}, std::system_error);
}

// ---- files ---------------------------------------------------------------------------------------------------------------

bool has(errand::file_change all, errand::file_change one) { return (all & one) == one; }

TEST(file_source, tells_what_happens_in_a_directory) {
  errand_test::scratch const dir;
  errand::file_source s{dir.path().string()};
  EXPECT_FALSE(s.try_next());
  std::ofstream{dir / "a"} << "text";
  std::ofstream{dir / "b"};
  auto const a = s.next();
  ASSERT_TRUE(a);
  EXPECT_EQ(a->name, "a");
  EXPECT_TRUE(has(a->what, errand::file_change::created | errand::file_change::written | errand::file_change::closed));
  auto const b = s.next();
  EXPECT_EQ(b->name, "b");
  EXPECT_FALSE(has(b->what, errand::file_change::written));
  std::filesystem::remove(dir / "a");
  EXPECT_TRUE(has(s.next()->what, errand::file_change::removed));
}

TEST(file_source, tells_a_handler_until_the_file_is_gone) {
  errand_test::scratch const dir;
  auto const file = dir / "f";
  std::ofstream{file} << "1";
  errand::serial_queue q;
  std::atomic<int> written{0};
  auto h = errand::on(q, errand::file_source{file.string(), errand::file_change::written}, [&](errand::file_event e) {
    EXPECT_TRUE(e.name.empty());
    if (has(e.what, errand::file_change::written)) ++written;
  });
  std::ofstream{file, std::ios::app} << "2";
  while (written == 0) std::this_thread::yield();
  std::filesystem::remove(file);
  h.wait();
  EXPECT_FALSE(h.active());
}

TEST(file_source, too_many_names_are_an_overflow) {
  errand_test::scratch const dir;
  errand::file_source s{dir.path().string(), errand::file_change::created};
  for (int i = 0; i < 5000; ++i) std::ofstream{dir / std::to_string(i)};
  bool overflow = false;
  while (auto const e = s.try_next()) overflow = overflow || has(e->what, errand::file_change::overflow);
  EXPECT_TRUE(overflow);
}

TEST(file_source, bad_input_is_one_clear_error) {
  try {
    errand::file_source s{"/nowhere/at/all"};
    ADD_FAILURE();
  } catch (std::system_error const& e) {
    EXPECT_NE(std::string{e.what()}.find("/nowhere/at/all"), std::string::npos);
  }
  EXPECT_THROW(errand::file_source("/tmp", errand::file_change::none), std::invalid_argument);
}

// ---- data ----------------------------------------------------------------------------------------------------------------

TEST(data_source, sums_what_was_added_and_loses_nothing) {
  errand::serial_queue q;
  errand::data_source<errand::merge::add> source;
  auto const add = source.adder();
  std::uint64_t sum = 0;
  std::uint64_t calls = 0;
  auto h = errand::on(q, std::move(source), [&](std::uint64_t n) {
    EXPECT_NE(n, 0U);
    sum += n;
    ++calls;
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) add(2);
    });
  for (auto& t : threads) t.join();
  while (errand::async(q, [&] { return sum; }).get() < 40'000) std::this_thread::yield();
  EXPECT_EQ(sum, 40'000U);
  EXPECT_LE(calls, 20'000U);
  h.cancel();
  add(1);
  EXPECT_EQ(errand::async(q, [&] { return sum; }).get(), 40'000U);
}

TEST(data_source, coalesces_while_its_queue_is_suspended) {
  errand::serial_queue q;
  auto guard = q.suspend();
  errand::data_source<errand::merge::bits> source;
  auto const set = source.setter();
  std::vector<std::uint64_t> got;
  auto h = errand::on(q, std::move(source), [&](std::uint64_t bits) { got.push_back(bits); });
  for (unsigned i = 0; i < 8; ++i) set(std::uint64_t{1} << i);
  EXPECT_LE(q.statistics().submitted, 1U);
  guard.resume();
  while (errand::async(q, [&] { return got.empty(); }).get()) std::this_thread::yield();
  EXPECT_EQ(errand::async(q, [&] { return got; }).get(), (std::vector<std::uint64_t>{255}));
}

errand::data_source<errand::merge::add>* from_handler = nullptr;
extern "C" void add_one(int) { from_handler->add(1); }
TEST(data_source, may_be_added_to_in_a_signal_handler) {
  errand::data_source<errand::merge::add> source;
  from_handler = &source;
  auto const before = ::signal(SIGUSR1, &add_one);
  auto sums = errand::async([&] {
    std::uint64_t sum = 0;
    while (sum < 1000) sum += *source.next();
    return sum;
  });
  for (int i = 0; i < 1000; ++i) ::raise(SIGUSR1);
  EXPECT_EQ(sums.get(), 1000U);
  ::signal(SIGUSR1, before);
}

TEST(data_source, the_last_value_counts) {
  errand::data_source<errand::merge::replace<std::unique_ptr<int>>> source;
  EXPECT_FALSE(source.try_next());
  source.put(std::make_unique<int>(1));
  source.put(std::make_unique<int>(2));
  EXPECT_EQ(**source.next(), 2);
  auto waits = errand::async([&] { return **source.next(); });
  source.put(std::make_unique<int>(3));
  EXPECT_EQ(waits.get(), 3);
  source.put(std::make_unique<int>(4));  // nobody takes it
}

TEST(data_source, handlers_on_the_main_queue) {
  errand::data_source<errand::merge::replace<std::string>> status;
  auto const put = status.putter();
  std::vector<std::string> shown;
  int const main = errand_test::thread_number();
  auto h = errand::on(errand::main_queue(), std::move(status), [&](std::string text) {
    EXPECT_EQ(errand_test::thread_number(), main);
    shown.push_back(std::move(text));
    if (shown.back() == "done") errand::main_queue().stop();
  });
  auto works = errand::async([put] {
    for (int i = 0; i < 100; ++i) put(std::to_string(i));
    put("done");
  });
  errand::main_queue().run();
  works.get();
  EXPECT_EQ(shown.back(), "done");
  EXPECT_LE(shown.size(), 101U);
}

}  // namespace
