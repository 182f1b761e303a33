// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Changes of a file or directory, by an inotify instance of the source's own: two sources of one path in a common one would share,
// and replace, what is watched.
#include "queue/descriptor_core.hpp"

#include <errand/detail/sources.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>
#include <sys/inotify.h>
#include <system_error>
#include <vector>

namespace errand::detail {

namespace {

constexpr std::size_t most_kept = 4096;  // names with changes that nobody has taken; more are an overflow

struct bit {
  std::uint32_t of_kernel;
  file_change ours;
};
constexpr std::array bits{
    bit{IN_MODIFY, file_change::written},           bit{IN_CLOSE_WRITE, file_change::closed},
    bit{IN_CREATE | IN_MOVED_TO, file_change::created}, bit{IN_DELETE | IN_MOVED_FROM, file_change::removed},
    bit{IN_ATTRIB, file_change::attributes},        bit{IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT, file_change::gone | file_change::removed},
    bit{IN_IGNORED, file_change::gone},             bit{IN_Q_OVERFLOW, file_change::overflow},
};

std::uint32_t asked_of_kernel(file_change what) noexcept {
  std::uint32_t mask = IN_DELETE_SELF | IN_MOVE_SELF;
  for (bit const& b : bits)
    if ((b.ours & what) == b.ours && b.ours != file_change::gone) mask |= b.of_kernel & IN_ALL_EVENTS;
  return mask;
}

class file_core final : public descriptor_core {
 public:
  file_core(descriptor fd, file_change asked) noexcept
      : descriptor_core{std::move(fd), EPOLLIN}, told_{asked | file_change::gone | file_change::overflow | file_change::removed} {}
  void register_as(std::string const& what) { open(what); }

 private:
  bool take(void* raw) override {
    read_all();
    if (kept_.empty()) return false;
    file_event event = std::move(kept_.front());
    kept_.erase(kept_.begin());
    if ((event.what & file_change::gone) != file_change::none && kept_.empty()) last_was_taken();
    static_cast<std::optional<file_event>*>(raw)->emplace(std::move(event));
    return true;
  }
  bool watch() override { return !kept_.empty() || descriptor_core::watch(); }

  void read_all() {
    alignas(inotify_event) std::array<char, 16384> buffer;
    for (;;) {
      auto const got = ::read(fd(), buffer.data(), buffer.size());
      if (got <= 0) {
        if (got < 0 && errno == EINTR) continue;
        return;  // nothing is left
      }
      for (std::ptrdiff_t at = 0; at < got;) {
        auto const& e = *reinterpret_cast<inotify_event const*>(buffer.data() + at);
        at += static_cast<std::ptrdiff_t>(sizeof e + e.len);
        file_change what = file_change::none;
        for (bit const& b : bits)
          if ((e.mask & b.of_kernel) != 0) what |= b.ours;
        what = what & told_;
        if (what != file_change::none) keep(what, e.len != 0 ? std::string{e.name} : std::string{});
      }
    }
  }

  void keep(file_change what, std::string name) {
    // The one that ends it stays the last.
    auto const same = std::find_if(kept_.begin(), kept_.end(), [&name](file_event const& e) { return e.name == name; });
    if (same != kept_.end()) {
      same->what |= what;
      if ((what & file_change::gone) != file_change::none) std::rotate(same, same + 1, kept_.end());
    } else if (kept_.size() < most_kept) {
      kept_.push_back({what, std::move(name)});
    } else {
      kept_.clear();
      kept_.push_back({what | file_change::overflow, {}});
    }
  }

  file_change const told_;
  std::vector<file_event> kept_{};  // under the source's guard
};

}  // namespace

event_core& make_file_source(std::string path, file_change what) {
  auto const said = "errand::file_source: " + path;
  if ((what & file_change::all) == file_change::none) throw std::invalid_argument{said + ": no change was named"};
  descriptor fd{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
  if (!fd) throw std::system_error{errno, std::generic_category(), said + " (inotify_init1)"};
  if (::inotify_add_watch(fd.get(), path.c_str(), asked_of_kernel(what)) < 0)
    throw std::system_error{errno, std::generic_category(), said + " cannot be watched"};
  return make_descriptor_core<file_core>(said, std::move(fd), what);
}

}  // namespace errand::detail
