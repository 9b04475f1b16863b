"""Generated files: reference pages, TypeScript types, the extension's manifest."""
