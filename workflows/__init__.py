"""What must happen: workflows, activities, templates."""
