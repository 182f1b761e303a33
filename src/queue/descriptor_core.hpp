// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A source with a descriptor of its own, on which the events' thread waits for one event at a time.
#pragma once

#include "queue/event_thread.hpp"

#include <sys/epoll.h>

namespace errand::detail {

class descriptor_core : public event_core {
 protected:
  descriptor_core(descriptor fd, std::uint32_t events) noexcept : fd_{std::move(fd)}, events_{events} {}
  /// As the last step of making one. Throws std::system_error.
  void open(std::string const& what) { id_ = event_thread::of_process().add(*this, fd_.get(), what); }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  bool watch() override {
    event_thread::of_process().watch(id_, fd_.get(), events_);
    return false;  // if it is there already, the kernel says so at once
  }
  void close() noexcept override {
    if (id_ != 0) event_thread::of_process().remove(id_, fd_.get());
    fd_.reset();
  }

 private:
  descriptor fd_;
  std::uint32_t const events_;
  std::uint64_t id_ = 0;
};

/// Made, and registered; or gone if that throws.
template <class Core, class... From>
event_core& make_descriptor_core(std::string const& what, From&&... from) {
  auto* const made = new Core{std::forward<From>(from)...};
  try {
    made->register_as(what);
  } catch (...) {
    drop_source(*made);
    throw;
  }
  return *made;
}

}  // namespace errand::detail
