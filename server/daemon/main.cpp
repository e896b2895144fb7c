#include <iostream>

#include "base/heap.h"
#include "server/daemon/program.h"

int main(int argc, char** argv) {
  ebb::keep_freed_memory();
  return ebb::server::run_ebbd({argv + 1, argv + argc}, std::cout, std::cerr);
}
