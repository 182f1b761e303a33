// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "task/unobserved.hpp"

#include "base/check.hpp"
#include "base/fork.hpp"
#include "task/rare_fields.hpp"

#include <errand/detail/unobserved.hpp>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <memory>
#include <typeinfo>

namespace errand {

namespace detail {

namespace {

std::atomic<std::uint64_t> reported{0};

// The parent has answered for its own.
[[gnu::init_priority(101)]] in_forked_child const renewal{[]() noexcept { reported.store(0, std::memory_order_relaxed); }};

std::string readable(char const* mangled) {
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> const name{abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free};
  return status == 0 ? name.get() : mangled;
}

std::string_view name_of(record const& r) noexcept {
  auto const* const rare = r.rare_.load(std::memory_order_acquire);  // (F1)
  return rare != nullptr ? std::string_view{rare->name} : std::string_view{};
}

void report_on_stderr(unobserved_error const& e) {
  std::string line = "an exception that nobody took left task";
  if (!e.task.empty()) line.append(" \"").append(e.task).append("\"");
  if (e.from.line() != 0)
    line.append(" started at ").append(e.from.file_name()).append(":").append(std::to_string(e.from.line()));
  say(line.append(": ").append(text_of(e.error)));
}

std::atomic<unobserved_error_handler> handler{nullptr};

}  // namespace

std::size_t describe_into(record const& r, char* buffer, std::size_t size) noexcept {
  std::size_t used = 0;
  auto const put = [&](std::string_view text) {
    auto const n = text.size() < size - used ? text.size() : size - used;
    std::memcpy(buffer + used, text.data(), n);
    used += n;
  };
  auto const name = name_of(r);
  put("task");
  if (!name.empty()) {
    put(" \"");
    put(name);
    put("\"");
  }
  if (r.from_.line() != 0) {
    char digits[16];
    auto const end = std::to_chars(digits, digits + sizeof digits, r.from_.line()).ptr;
    put(" (");
    put(r.from_.file_name());
    put(":");
    put({digits, static_cast<std::size_t>(end - digits)});
    put(")");
  }
  return used;
}

std::string describe(record const& r) {
  char text[512];
  return {text, describe_into(r, text, sizeof text)};
}

std::string text_of(std::exception_ptr const& error) {
  try {
    std::rethrow_exception(error);
  } catch (std::exception const& e) {
    return std::string{e.what()} + " (" + readable(typeid(e).name()) + ")";
  } catch (...) {
    auto const* const type = abi::__cxa_current_exception_type();
    return type != nullptr ? "an exception of type " + readable(type->name()) : "an exception of unknown type";
  }
}

static void report(unobserved_error const& e) noexcept {
  reported.fetch_add(1, std::memory_order_relaxed);
  // (U1) acquire: what the handler needs was made before it was set; pairs with (U2).
  if (auto const chosen = handler.load(std::memory_order_acquire); chosen != nullptr)
    chosen(e);
  else
    report_on_stderr(e);
}

void report_unobserved(record& r) noexcept { report({r.error_, name_of(r), r.from_}); }
void report_unobserved(further_error const& e) noexcept { report({e.error, e.task, e.from}); }

further_error further_error_of(record& r) { return {r.error_, std::string{name_of(r)}, r.from_}; }

std::uint64_t unobserved_count() noexcept { return reported.load(std::memory_order_relaxed); }

}  // namespace detail

unobserved_error_handler set_unobserved_error_handler(unobserved_error_handler chosen) noexcept {
  return detail::handler.exchange(chosen, std::memory_order_acq_rel);  // (U2) pairs with (U1)
}

}  // namespace errand
