// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A program without errand that opens a shared object with errand inside, uses it and closes it, with tasks on their way.
// Its argument is the object's path.
#include <dlfcn.h>
#include <cstdio>

int main(int, char** arguments) {
  for (int i = 0; i < 3; ++i) {
    void* const library = ::dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      std::fprintf(stderr, "%s\n", ::dlerror());
      return 1;
    }
    auto const use = reinterpret_cast<int (*)(int)>(::dlsym(library, "use_errand"));
    if (use == nullptr || use(i) != 2 * i) return 2;
    ::dlclose(library);
  }
  // The sleeping threads of the object are still there, and so is their code.
  void* const again = ::dlopen(arguments[1], RTLD_NOW | RTLD_NOLOAD);
  std::fputs(again != nullptr ? "stays loaded." : "was unloaded.", stderr);
  return 0;
}
