# ipcq_default_architectures(RESULT VERSION): compute capabilities to compile for with a CUDA toolkit of that version,
# where nobody has chosen. Of each generation the first, whose code runs on the later ones of it. Also installed.
function(ipcq_default_architectures result version)
  set(architectures 75 80 90)
  if(version VERSION_LESS 13)
    list(PREPEND architectures 70)
  endif()
  if(version VERSION_GREATER_EQUAL 12.8)
    list(APPEND architectures 100 120)
  endif()
  set(${result} ${architectures} PARENT_SCOPE)
endfunction()
