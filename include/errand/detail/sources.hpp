// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// module: queue
//
// Event sources: signals, descriptors, children, files, data that gathers. Each is taken by a loop (next(), co_await) or by a handler
// (on()), as events.hpp says; timers are in after.hpp. One thread, "errand/events", waits for all of them in the kernel; it
// is started by the first and sleeps while nothing happens. Why so: src/queue/events.md.
#pragma once

#include <errand/detail/events.hpp>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace errand {

// ---- descriptors -----------------------------------------------------------------------------------------------------------

struct readable_event {
  std::size_t available;  // bytes that can be read without waiting, as far as the kernel says; else 0
  bool closed;            // nothing more will come: the peer has closed its end, and all was read. The last event
};
struct writable_event {
  bool closed;  // nobody will read it any more. The last event
};

namespace detail {
[[nodiscard]] event_core& make_readable(int fd);
[[nodiscard]] event_core& make_writable(int fd);
[[nodiscard]] event_core& make_signal_source(int const* first, std::size_t count);
[[nodiscard]] event_core& make_child_source(int pid);
[[nodiscard]] event_core& make_data_source(bool adds);
void merge_data(event_core& s, std::uint64_t value) noexcept;
[[nodiscard]] event_core& make_value_source(void (*destroy)(void*) noexcept);
void put_value(event_core& s, void* value) noexcept;
}  // namespace detail

/// When a descriptor can be read: an event, and the next one as soon as it has been taken (by a handler: has returned), as long as
/// there is something to read. A closed peer is one event, and the last; nothing spins.
/// The source has a copy of the descriptor (dup), so it may be closed at any time; but what is behind it stays open until the source is
/// cancelled. Throws std::system_error for what is no open descriptor, and for what is always ready, as regular files and directories.
class readable_source : public event_source<readable_event> {
 public:
  explicit readable_source(int fd) : event_source{detail::make_readable(fd)} {}
};

/// The same for writing.
class writable_source : public event_source<writable_event> {
 public:
  explicit writable_source(int fd) : event_source{detail::make_writable(fd)} {}
};

// ---- signals ---------------------------------------------------------------------------------------------------------------

struct signal_event {
  int signal;
  std::uint64_t count;  // how often it came since it was last taken, as far as the system did not merge them before
  int sender;           // the process that sent the last one; 0: the kernel
};

/// Signals sent to the process: `signal_source term{SIGTERM, SIGINT}`. As long as the source lives, they do to the program nothing else:
/// no thread gets their default action, whatever it blocks. A signal handler of ours takes them, on whichever thread of the
/// program's own the kernel chooses, and is restarted around (SA_RESTART); so poll() and sleep() there may end with EINTR.
/// Threads of errand's never get any. Programs that are executed do not inherit anything of it, and the child of a fork() has
/// what was set before. With the last source of a signal, what was set before is set again. Several sources of one signal get
/// each all of it. The lowest signal comes first.
/// Throws std::invalid_argument for a signal that cannot be caught (SIGKILL, SIGSTOP), or that says that the thread itself
/// has made a fault (SIGSEGV and the like).
class signal_source : public event_source<signal_event> {
 public:
  signal_source(std::initializer_list<int> signals)
      : event_source{detail::make_signal_source(signals.begin(), signals.size())} {}
  explicit signal_source(int signal) : event_source{detail::make_signal_source(&signal, 1)} {}
};

// ---- children --------------------------------------------------------------------------------------------------------------

struct child_event {
  int pid;
  int status;   // what it exited with; 0 if a signal ended it
  int signal;   // the signal that ended it; 0 if it exited
  bool reaped;  // false: somebody else has waited for it, or SIGCHLD is ignored, and how it ended is not known
};

/// The end of a child process, once: by its descriptor (pidfd), so not by SIGCHLD. The child is reaped when the event is taken.
/// Throws std::system_error if the process is no child of ours, or was reaped.
class child_source : public event_source<child_event> {
 public:
  explicit child_source(int pid) : event_source{detail::make_child_source(pid)} {}
};

// ---- files -----------------------------------------------------------------------------------------------------------------

/// What happens to a file, or to those in a directory. Bits, that may be combined.
enum class file_change : unsigned {
  none = 0,
  written = 1,      // its contents were changed
  closed = 2,       // one that was open for writing was closed
  created = 4,      // in a directory: made there, or moved to it
  removed = 8,      // in a directory: removed, or moved away; or the file itself
  attributes = 16,  // times, owner, permissions, number of links
  gone = 32,        // the watched file or directory itself was removed or moved: the last event. Always told
  overflow = 64,    // more happened than the kernel, or the source, keeps: look at everything anew. Always told
  all = 31,
};
[[nodiscard]] constexpr file_change operator|(file_change a, file_change b) noexcept {
  return static_cast<file_change>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr file_change operator&(file_change a, file_change b) noexcept {
  return static_cast<file_change>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}
constexpr file_change& operator|=(file_change& a, file_change b) noexcept { return a = a | b; }

struct file_event {
  file_change what;  // what has happened since it was last taken
  std::string name;  // in a directory: to which file of it; else empty
};

namespace detail {
[[nodiscard]] event_core& make_file_source(std::string path, file_change what);
}

/// Changes of a file, or of a directory and the files in it (not in those below). Those of one name that nobody has taken are one
/// event; names come in the order in which they were first changed. Each source takes one of the user's inotify instances
/// (often 128). Throws std::system_error naming the path, std::invalid_argument for no change.
class file_source : public event_source<file_event> {
 public:
  explicit file_source(std::string_view path, file_change what = file_change::all)
      : event_source{detail::make_file_source(std::string{path}, what)} {}
};

// ---- data that gathers -----------------------------------------------------------------------------------------------------

namespace detail {
/// Keeps what is behind a source, though that may have ended: for those who bring data to it.
class source_share {
 public:
  explicit source_share(event_core& s) noexcept : source_{&s} { share_source(s); }
  source_share(source_share const& other) noexcept : source_share{*other.source_} {}
  source_share& operator=(source_share const& other) noexcept {
    share_source(*other.source_);
    release_source(*std::exchange(source_, other.source_));
    return *this;
  }
  ~source_share() { release_source(*source_); }
  event_core& operator*() const noexcept { return *source_; }

 private:
  event_core* source_;
};
}  // namespace detail

/// How data that nobody has taken become one.
namespace merge {
struct add {};
struct bits {};
template <class T>
struct replace {};
}  // namespace merge

/// data_source<merge::add>: add() numbers, an event is their sum. data_source<merge::bits>: set() bits, an event is all that were set.
/// data_source<merge::replace<T>>: put() values, an event is the last. Sums of 0 are no event.
template <class How>
class data_source;

/// add() may be called from anywhere, also from a signal handler; it allocates nothing and takes no lock. The first after
/// the event was taken costs a wake of the events' thread, others one addition.
template <>
class data_source<merge::add> : public event_source<std::uint64_t> {
 public:
  data_source() : event_source{detail::make_data_source(true)} {}
  void add(std::uint64_t n) const noexcept { detail::merge_data(core(), n); }
  /// To add by when the source itself has been taken over by its handler. When that has ended, nothing happens.
  [[nodiscard]] auto adder() const {
    return [to = detail::source_share{core()}](std::uint64_t n) noexcept { detail::merge_data(*to, n); };
  }
};
template <>
class data_source<merge::bits> : public event_source<std::uint64_t> {
 public:
  data_source() : event_source{detail::make_data_source(false)} {}
  void set(std::uint64_t bits) const noexcept { detail::merge_data(core(), bits); }
  [[nodiscard]] auto setter() const {
    return [to = detail::source_share{core()}](std::uint64_t bits) noexcept { detail::merge_data(*to, bits); };
  }
};
/// put() may be called from any thread, not in a signal handler. Throws std::bad_alloc, and what moving throws.
template <class T>
class data_source<merge::replace<T>> : public event_source<T, void*> {
 public:
  data_source() : event_source<T, void*>{detail::make_value_source(&destroy)} {}
  void put(T value) const {
    detail::event_core& core = this->core();  // which throws, so before the value is made
    detail::put_value(core, new T(std::move(value)));
  }
  [[nodiscard]] auto putter() const {
    return [to = detail::source_share{this->core()}](T value) { detail::put_value(*to, new T(std::move(value))); };
  }

 private:
  static void destroy(void* value) noexcept { delete static_cast<T*>(value); }
};

}  // namespace errand
