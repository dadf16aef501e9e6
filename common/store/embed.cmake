# Writes OUT: one C string per Lua file in SCRIPTS, named store_script_<file>, behind the text of
# prelude.lua, which all share.
set(text "/* Made from common/store/scripts by embed.cmake. */\n#include \"store/scripts.h\"\n")
foreach(script ${SCRIPTS})
    get_filename_component(name ${script} NAME_WE)
    get_filename_component(dir ${script} DIRECTORY)
    if(NOT name STREQUAL "prelude")
        file(READ ${dir}/prelude.lua prelude)
        file(READ ${script} body)
        string(APPEND text "const char store_script_${name}[] = R\"lua(${prelude}${body})lua\";\n")
    endif()
endforeach()
file(WRITE ${OUT} "${text}")
